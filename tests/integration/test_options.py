"""What a request asks of its statement's transaction holds for it alone, and can't be left."""

import asyncio

import pytest

from tests.fixtures.service import observe, poll
from tests.fixtures.wired import run_wired

pytestmark = pytest.mark.matrix

INSERT = "insert into notes (id) values ($1) returning id"
COUNT = "select count(*) from notes"
SWITCH_OFF = "set_config('transaction_read_only', 'off', true)"
UPDATE = "update notes set n = n + 1 where id = 1"


@pytest.fixture(scope="module")
async def service(upstream, notes):
    async with run_wired(upstream, session={"allowed_roles": ["clerk"]}) as wired:
        yield wired


@pytest.fixture
def client(wired):
    return wired.client


async def test_read_only_refuses_a_write(client):
    reply = await client.query(INSERT, 2, read_only=True)
    assert (reply.status, reply.json["title"]) == (403, "read_only_sql_transaction")
    assert (reply.json["sqlstate"], reply.json["executed"]) == ("25006", "no")


async def test_read_only_lets_a_read_pass(client):
    assert await client.value(COUNT, read_only=True) == 1


@pytest.mark.parametrize(
    "sql",
    [
        f"select {SWITCH_OFF}",
        f"with off as materialized (select {SWITCH_OFF}) insert into notes select 2 from off",
        f"select query_to_xml($$ select {SWITCH_OFF} $$, true, true, '')",
    ],
)
async def test_read_only_can_not_be_left(client, sql):
    reply = await client.query(sql, read_only=True)
    assert reply.json["sqlstate"] in {"25001", "25006"}


async def test_read_only_ends_with_its_statement(client):
    await client.value(COUNT, read_only=True)
    assert await client.value("select current_setting('transaction_read_only')") == "off"


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
async def test_isolation_is_what_was_asked_for(client, level):
    sql = "select current_setting('transaction_isolation')"
    assert await client.value(sql, isolation=level) == level
    assert await client.value(sql) == "read committed"


async def test_what_can_not_be_serialized_may_be_sent_again(client, upstream):
    async with observe(upstream) as other, asyncio.TaskGroup() as group:

        async def is_ours_waiting():
            return await other.fetchval("select exists (select from pg_locks where not granted)")

        await other.execute(f"begin; {UPDATE}")
        ours = group.create_task(client.query(UPDATE, isolation="repeatable read"))
        await poll(is_ours_waiting, "nobody waits for the row")
        await other.execute("commit")
    reply = ours.result()
    assert (reply.status, reply.json["sqlstate"]) == (409, "40001")
    assert (reply.json["retryable"], reply.json["executed"]) == (True, "no")


async def test_a_dry_run_leaves_nothing(client):
    await client.query(INSERT, 2, dry_run=True)
    assert await client.value(COUNT) == 1


async def test_a_dry_run_shows_its_rows_or_is_refused_before_anything_is_sent(wired, upstream):
    reply, flights = await wired.fly(INSERT, 2, dry_run=True)
    if upstream.pool_mode == "statement":
        assert (reply.status, reply.json["title"]) == (409, "needs_transactions")
        assert flights == []
    else:
        assert reply.json["rows"] == [{"id": 2}]


async def test_a_role_holds_for_its_statement_alone(client):
    sql = "select current_user::text || ' for ' || session_user"
    assert await client.value(sql, role="clerk") == "clerk for app"
    assert await client.value(sql) == "app for app"


async def test_a_role_may_do_what_it_may_and_no_more(client):
    assert await client.value(COUNT, role="clerk") == 1
    reply = await client.query(INSERT, 2, role="clerk")
    assert (reply.status, reply.json["sqlstate"]) == (403, "42501")


async def test_a_role_that_is_not_allowed_is_refused_before_anything_is_sent(wired):
    reply, flights = await wired.fly("select 1", role="postgres")
    assert (reply.status, reply.json["title"]) == (403, "forbidden")
    assert flights == []


async def test_everything_together_holds(client):
    names = ["role", "transaction_isolation", "transaction_read_only", "app.x"]
    options = {"role": "clerk", "isolation": "serializable", "read_only": True}
    sql = "select current_setting(name) from unnest($1::text[]) as name"
    rows = await client.rows(sql, names, rows="arrays", settings={"app.x": "1"}, **options)
    assert rows == [["clerk"], ["serializable"], ["on"], ["1"]]
