"""Settings of one never reach another: neither our own clients, nor strangers at the PgBouncer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from proxy.engine import flight
from tests.fixtures.bouncer import command, show
from tests.fixtures.notes import open_notes
from tests.fixtures.servers import (
    BOUNCERS,
    OTHER_BOUNCERS,
    BouncerKind,
    Servers,
    Upstream,
    describe_pgbouncer,
    find_kind,
    run_pgbouncer,
)
from tests.fixtures.service import Client, observe, poll, run_client

ROUNDS = 50  # with 20 that ask at once: 1,000 statements
NAMES = ("TimeZone", "search_path", "app.tenant", "work_mem", "role", "transaction_read_only")
READ = "select " + ", ".join(f"coalesce(current_setting('{name}', true), '')" for name in NAMES)
PLAIN = ["UTC", '"$user", public', "", "4MB", "none", "off"]
SESSION = {"time_zone": "Asia/Tokyo", "allowed_roles": ["clerk"]}
POOL = {"size": 4, "overflow": 0}
LOCK = 7433
LOOK = """
select pg_backend_pid(), (select count(*) from pg_prepared_statements where name <> ''),
    (select json_object_agg(name, array[setting, source]) from pg_settings
     where name not like 'plpgsql.%'),
    pg_advisory_xact_lock_shared($1)
"""
COUNT_WAITING = "select count(*) from pg_locks where objid = $1 and not granted"
COUNT_BUSY = """
select (select count(*) from pg_locks where pid = any($1))
    + (select count(*) from pg_stat_activity where pid = any($1) and state <> 'idle')
"""
# PgBouncer sets these for each client that it serves: then the session is their source
TRACKED = (
    *("application_name", "client_encoding", "DateStyle", "IntervalStyle"),
    *("standard_conforming_strings", "TimeZone"),
)


@pytest.fixture(params=[*BOUNCERS, *OTHER_BOUNCERS])
def kind(request) -> BouncerKind:
    return find_kind(request.param)


@pytest.fixture
def place(kind: BouncerKind, servers: Servers):
    """A PgBouncer that serves nobody else."""
    postgres = servers.postgres()
    with run_pgbouncer(kind, postgres) as bouncer:
        yield describe_pgbouncer(bouncer, kind, postgres)


async def test_strangers_see_and_inherit_nothing(place):
    assert await count_wrong_answers(place) == 0
    used = await look_at_every_server(place)
    await command(place, "RECONNECT")
    fresh = await look_at_every_server(place)
    assert not used.keys() & fresh.keys()
    assert list(used.values()) == [next(iter(fresh.values()))] * len(used)


async def test_strangers_see_and_inherit_what_is_set_for_longer_than_the_flight(place, monkeypatch):
    set_for_the_session(monkeypatch)
    assert await count_wrong_answers(place) > 0
    if place.pool_mode == "session":
        return  # PgBouncer's DISCARD ALL comes after each client
    used = await look_at_every_server(place)
    await command(place, "RECONNECT")
    fresh = await look_at_every_server(place)
    assert next(iter(fresh.values())) not in used.values()


async def test_requests_see_what_is_set_for_longer_than_their_flight(servers, monkeypatch):
    set_for_the_session(monkeypatch)
    assert await count_wrong_answers(servers.upstream("postgres")) > 0


def set_for_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away what makes a setting end with its flight."""
    build = flight.build_parse
    monkeypatch.setattr(
        flight, "build_parse", lambda sql, *oids: build(sql.replace(b",true)", b",false)"), *oids)
    )


async def count_wrong_answers(place: Upstream) -> int:
    """Have our clients, half of them without options, and strangers ask at the same time."""
    async with (
        open_notes(place),
        run_client(place, session=SESSION, pool=POOL) as client,
        AsyncExitStack() as stack,
    ):
        strangers = [await stack.enter_async_context(open_stranger(place)) for _ in range(4)]
        counts = await asyncio.gather(
            *(count_of_client(client, number) for number in range(16)),
            *(count_of_stranger(stranger) for stranger in strangers),
        )
    return sum(counts)


async def count_of_client(client: Client, number: int) -> int:
    wrong = 0
    for _ in range(ROUNDS):
        options, wanted = ask(number)
        reply = await client.query(READ, rows="arrays", **options)
        wrong += reply.status != 200 or reply.json["rows"] != [wanted]
    return wrong


def ask(number: int) -> tuple[dict, list[str]]:
    """Options of a client's requests, and what they find."""
    plain = ["Asia/Tokyo", *PLAIN[1:]]
    if number % 2:
        return {}, plain
    settings = {"search_path": "pg_temp", "app.tenant": str(number), "work_mem": "1234kB"}
    if number % 4:
        return {"settings": settings}, ["Asia/Tokyo", *settings.values(), "none", "off"]
    options = {"settings": {**settings, "TimeZone": "Europe/Vienna"}}
    wanted = ["Europe/Vienna", *settings.values(), "clerk", "on"]
    return {**options, "role": "clerk", "read_only": True}, wanted


async def count_of_stranger(stranger: "asyncpg.Connection") -> int:
    return sum([list(await stranger.fetchrow(READ)) != PLAIN for _ in range(ROUNDS)])


@asynccontextmanager
async def open_stranger(place: Upstream) -> AsyncIterator["asyncpg.Connection"]:
    """Connect as an application that has nothing to do with us."""
    stranger = await asyncpg.connect(
        place.dsn, statement_cache_size=0, server_settings={"application_name": "stranger"}
    )
    try:
        yield stranger
    finally:
        await stranger.close()


async def look_at_every_server(place: Upstream) -> dict[int, tuple[int, dict]]:
    """Have strangers look at all server connections at once; what they find, by backend."""
    count = len(await show(place, "SERVERS"))
    async with observe(place) as observer, AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        await observer.execute("select pg_advisory_lock($1)", LOCK)
        strangers = [await stack.enter_async_context(open_stranger(place)) for _ in range(count)]
        looks = [group.create_task(stranger.fetchrow(LOOK, LOCK)) for stranger in strangers]

        async def are_all_waiting() -> bool:
            return await observer.fetchval(COUNT_WAITING, LOCK) == count

        await poll(are_all_waiting, "the servers aren't all in use")
        await observer.execute("select pg_advisory_unlock($1)", LOCK)
        found = [await look for look in looks]
        pids = [pid for pid, *_ in found]
        assert await observer.fetchval(COUNT_BUSY, pids) == 0
    return {pid: (prepared, without_sources(settings)) for pid, prepared, settings, _ in found}


def without_sources(settings: str) -> dict[str, list[str]]:
    """Settings with their sources, where the source is not PgBouncer's business."""
    found = json.loads(settings)
    return {name: found[name][: 1 if name in TRACKED else 2] for name in found}
