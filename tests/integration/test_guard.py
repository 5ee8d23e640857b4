"""What would leave something behind is refused before it is sent; and what happens without that."""

from contextlib import asynccontextmanager

import asyncpg
import pytest

from tests.fixtures.service import assert_nothing_left, poll
from tests.fixtures.wired import run_wired

pytestmark = pytest.mark.matrix

BOUND = {
    "set app.x = '1'": "`settings`",
    "SET SESSION work_mem TO '1MB'": "`settings`",
    "/* so */ set time zone 'UTC'": "`settings`",
    "set role app": "`role`",
    "set session authorization app": "`role`",
    "set session characteristics as transaction read only": "`read_only`",
    "reset all": "leave it out",
    "discard all": "leave it out",
    "listen news": "GET /v1/listen",
    "unlisten *": "GET /v1/listen",
    "load 'plpgsql'": "session_preload_libraries",
    "prepare p as select 1": "`params`",
    "execute p": "`params`",
    "deallocate all": "`params`",
    "create temp table t (id int)": "WITH query",
    "create table pg_temp.t (id int)": "WITH query",
    "select 1 as id into temp t": "WITH query",
    "create temp table t (id int) on commit drop": "WITH query",
    "select pg_advisory_lock(1)": "pg_advisory_xact_lock()",
    "select pg_catalog.pg_try_advisory_lock_shared(1)": "pg_advisory_xact_lock()",
    "select lastval()": "RETURNING",
    "select currval('users_id_seq')": "RETURNING",
    "select set_config('app.x', '1', false)": "`settings`",
    "declare c cursor with hold for select 1": "all rows at once",
    "declare c cursor for select 1": "all rows at once",
    "fetch from c": "all rows at once",
}
OF_TRANSACTIONS = (
    *("begin", "start transaction", "commit", "END", "rollback", "abort", "savepoint a"),
    *("rollback to a", "release a", "set transaction read only", "prepare transaction 'a'"),
)
PASSES = (
    "select 'set role app; commit' as a",
    "select $$ lastval() $$ as a, E'\\'; begin' as b",
    'select 1 as "set", 2 as "copy", 3 as begin -- commit',
    "/* set app.x = 1; /* listen a */ */ select 1",
    "select 1 as listen, 2 as discard, 3 as prepare;",
    "with lastval as (select 1 as currval) select currval from lastval",
    "select pg_advisory_xact_lock(1)",
    "select pg_try_advisory_xact_lock(1)",
    "select set_config('app.x', '1', true)",
    "notify news",
)
READ_LEAK = "select coalesce(current_setting('app.leak', true), '')"


@pytest.fixture(scope="module")
async def service(upstream):
    async with run_wired(upstream) as wired:
        yield wired


@pytest.fixture
async def wired(service, upstream):
    yield service
    await assert_nothing_left(service.client, upstream)


@pytest.mark.parametrize(("sql", "remedy"), BOUND.items())
async def test_what_needs_a_session_gets_the_remedy_and_is_not_sent(wired, sql, remedy):
    reply, flights = await wired.fly(sql)
    assert (reply.status, reply.json["title"]) == (409, "needs_session")
    assert remedy in reply.json["detail"]
    assert flights == []


@pytest.mark.parametrize("sql", OF_TRANSACTIONS)
async def test_words_of_transactions_are_not_sent(wired, sql):
    reply, flights = await wired.fly(sql)
    assert (reply.status, reply.json["title"]) == (403, "statement_not_allowed")
    assert sql.split()[0].upper() in reply.json["detail"]
    assert flights == []


@pytest.mark.parametrize("sql", ["copy users to stdout", "/**/ Copy users from stdin"])
async def test_copy_is_not_sent(wired, sql):
    reply, flights = await wired.fly(sql)
    assert (reply.status, reply.json["title"]) == (403, "statement_not_allowed")
    assert flights == []


@pytest.mark.parametrize("sql", ["select 1; select 2", "select 1; set app.x = 1", "vacuum; select"])
async def test_several_statements_are_not_sent(wired, sql):
    reply, flights = await wired.fly(sql)
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")
    assert "one per request" in reply.json["detail"]
    assert flights == []


@pytest.mark.parametrize("sql", ["", " \n", ";", "-- select 1", "/* select 1 */ ;"])
async def test_nothing_is_not_sent(wired, sql):
    reply, flights = await wired.fly(sql)
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")
    assert flights == []


@pytest.mark.parametrize("sql", PASSES)
async def test_the_same_words_elsewhere_pass(wired, sql):
    reply, flights = await wired.fly(sql)
    assert reply.status == 200, reply.json
    assert flights == ["PBDES"]


async def test_a_set_for_the_statement_alone_passes_and_leaves_nothing(wired):
    assert (await wired.client.query("set local app.x = 'left'")).status == 200
    seen = await wired.client.value("select coalesce(current_setting('app.x', true), '')")
    assert seen == ""


@asynccontextmanager
async def leaking(upstream):
    """A service for what leaves something behind; and the servers as before, afterwards."""
    async with run_wired(upstream) as wired:
        yield wired
    if upstream.console_dsn is None or upstream.pool_mode == "session":
        return  # the end of the connection was the end of the session
    console = await asyncpg.connect(upstream.console_dsn)
    await console.execute("RECONNECT app")
    await console.close()


async def read_as_stranger(upstream):
    """What somebody else on the same pool finds set: the next request, or another login."""
    stranger = await asyncpg.connect(upstream.dsn, statement_cache_size=0)
    try:
        return await stranger.fetchval(READ_LEAK)
    finally:
        await stranger.close()


async def assert_leak(upstream, wired):
    """In a session that is ours, our next request is the stranger."""

    async def is_seen():
        if upstream.pool_mode in {None, "session"}:
            return await wired.client.value(READ_LEAK) == "left"
        return await read_as_stranger(upstream) == "left"

    await poll(is_seen, "nothing has leaked")


async def test_without_the_guard_a_setting_leaks(upstream, monkeypatch):
    monkeypatch.setattr("proxy.query.execute.check_query", lambda *_: None)
    async with leaking(upstream) as wired:
        assert (await wired.client.query("set app.leak = 'left'")).status == 200
        await assert_leak(upstream, wired)


async def test_a_do_block_leaks_what_no_guard_can_see(upstream):
    """The hole that SECURITY.md describes."""
    async with leaking(upstream) as wired:
        sql = "do $$ begin execute 'set app.leak = ''left'''; end $$"
        assert (await wired.client.query(sql)).status == 200
        await assert_leak(upstream, wired)


async def test_with_the_guard_nothing_leaks(upstream):
    async with leaking(upstream) as wired:
        assert (await wired.client.query("set app.leak = 'left'")).status == 409
        assert await wired.client.value(READ_LEAK) == ""
        assert await read_as_stranger(upstream) == ""
