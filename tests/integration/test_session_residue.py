"""After a thousand interleaved statements the servers are as they were after their login."""

import asyncio
import json

import pytest

from proxy.engine.factory import connect_driver
from tests.fixtures.notes import open_notes
from tests.fixtures.service import build_settings, observe, poll, run_client

pytestmark = pytest.mark.matrix

CONNECTIONS = 4
SERVERS = 2  # of a PgBouncer that shares them
NAMES = ("TimeZone", "search_path", "app.x", "work_mem", "role", "transaction_read_only")
READ = "select " + ", ".join(f"coalesce(current_setting('{name}', true), '')" for name in NAMES)
PLAIN = ["UTC", '"$user", public', "", "4MB", "none", "off"]
LOCK = 7432
# those of plpgsql are there where a DO block has loaded it
SETTINGS = """
select jsonb_object_agg(name, setting) from pg_settings where name not like 'plpgsql.%'
"""
NAMED = "select count(*) from pg_prepared_statements where name <> ''"
LOOK = f"select ({NAMED}), ({SETTINGS}), pg_advisory_xact_lock_shared({LOCK})"
COUNT_WAITING = f"select count(*) from pg_locks where objid = {LOCK} and not granted"
COUNT_LOCKS = """
select count(*) from pg_locks join pg_stat_activity using (pid) where usename = 'app'
"""


def ask(number):
    """Options of a request, and what it must find; every other one has none."""
    if number % 2:
        return {}, PLAIN
    settings = {"TimeZone": "Asia/Tokyo", "search_path": "pg_temp", "app.x": str(number)}
    options = {"settings": {**settings, "work_mem": "1234kB"}}
    if number % 4:
        return options, [*settings.values(), "1234kB", "none", "off"]
    options |= {"role": "clerk", "read_only": True}
    return options, [*settings.values(), "1234kB", "clerk", "on"]


@pytest.fixture
async def client(upstream):
    pool = {"size": CONNECTIONS, "overflow": 0}
    session = {"allowed_roles": ["clerk"]}
    async with (
        open_notes(upstream),
        run_client(upstream, session=session, pool=pool) as client,
    ):
        yield client


async def look_after_login(upstream):
    """What a new session on Postgres itself has, logged in as the service does."""
    dsn = upstream.postgres_dsn.replace("postgres@", "app@")
    connection = await connect_driver(build_settings(dsn))
    try:
        return [0, json.loads(await connection.fetchval(SETTINGS))]
    finally:
        await connection.close()


async def look_at_every_server(client, observer, count):
    """What `count` statements find that run at the same time, so that no two share a server."""

    async def are_all_waiting():
        return await observer.fetchval(COUNT_WAITING) == count

    await observer.execute(f"select pg_advisory_lock({LOCK})")
    async with asyncio.TaskGroup() as group:
        looks = [group.create_task(client.rows(LOOK, rows="arrays")) for _ in range(count)]
        await poll(are_all_waiting, "the servers aren't all in use")
        await observer.execute(f"select pg_advisory_unlock({LOCK})")
    return [look.result()[0][:2] for look in looks]


async def assert_own_answers(client, numbers):
    """One HTTP client: statement after statement, each with options of its own."""
    for number in numbers:
        options, wanted = ask(number)
        assert await client.rows(READ, rows="arrays", **options) == [wanted]


async def test_a_thousand_interleaved_statements_find_their_own_and_leave_nothing(client, upstream):
    await asyncio.gather(
        *(assert_own_answers(client, range(n, n + 25)) for n in range(0, 1000, 25))
    )
    count = SERVERS if upstream.pool_mode in {"transaction", "statement"} else CONNECTIONS
    async with observe(upstream) as observer:
        found = await look_at_every_server(client, observer, count)
        assert found == [await look_after_login(upstream)] * count
        assert await observer.fetchval(COUNT_LOCKS) == 0
