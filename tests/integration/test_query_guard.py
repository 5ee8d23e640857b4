"""What would leave something behind is refused before it is sent, with the way to do it instead."""

import pytest

from tests.fixtures.service import Client, run_client

BOUND = [
    ("set work_mem = '1MB'", "`settings`"),
    ("set role app", "`role`"),
    ("reset all", "leave it out"),
    ("discard all", "leave it out"),
    ("listen news", "connect to Postgres directly"),
    ("load 'auto_explain'", "session_preload_libraries"),
    ("prepare p as select 1", "`params`"),
    ("execute p", "`params`"),
    ("create temp table t (id int)", "WITH query"),
    ("select 1 as id into temp t", "WITH query"),
    ("select pg_advisory_lock(1)", "pg_advisory_xact_lock()"),
    ("select lastval()", "RETURNING"),
    ("select set_config('app.tenant', '7', false)", "`settings`"),
    ("declare c cursor for select 1", "take all rows at once"),
    ("declare c cursor with hold for select 1", "take all rows at once"),
    ("fetch from c", "take all rows at once"),
    ("create temp table t (id int) on commit drop", "WITH query"),
]


@pytest.mark.parametrize(("sql", "remedy"), BOUND)
async def test_what_lives_in_a_session_gets_the_remedy(client: Client, sql, remedy):
    reply = await client.query(sql)
    assert reply.status == 409
    assert reply.json["title"] == "needs_session"
    assert remedy in reply.json["detail"]
    assert reply.json["executed"] == "no"


@pytest.mark.parametrize(
    "sql",
    [
        *("begin", "start transaction isolation level serializable", "commit", "rollback", "end"),
        *("savepoint here", "release here", "set transaction read only", "/* so */ Begin;"),
    ],
)
async def test_a_word_of_a_transaction_is_refused(client: Client, sql):
    reply = await client.query(sql)
    assert reply.status == 403
    assert reply.json["title"] == "statement_not_allowed"
    assert "transaction of its own" in reply.json["detail"]


@pytest.mark.parametrize("sql", ["copy users from stdin", "/* so */ COPY users to stdout"])
async def test_copy_is_refused(client: Client, sql):
    reply = await client.query(sql)
    assert reply.status == 403
    assert reply.json["title"] == "statement_not_allowed"
    assert "COPY" in reply.json["detail"]


@pytest.mark.parametrize(
    "sql", ["select 1; select 2", "select 1; drop table users", "vacuum; vacuum"]
)
async def test_several_statements_are_refused(client: Client, sql):
    reply = await client.query(sql)
    assert reply.status == 400
    assert reply.json["detail"] == "sql holds more than one statement; send one per request"


@pytest.mark.parametrize("sql", ["-- nothing", "/* nothing */", ";", "  ;\n"])
async def test_a_body_without_a_statement_is_refused(client: Client, sql):
    reply = await client.query(sql)
    assert reply.status == 400
    assert reply.json["detail"] == "sql holds no statement"


@pytest.mark.parametrize("options", [{"settings": {"app.tenant": "7"}}, {"read_only": True}])
async def test_what_must_be_alone_takes_no_options(client: Client, options):
    reply = await client.query("vacuum users", **options)
    assert reply.status == 409
    assert reply.json["title"] == "needs_bare_flight"
    assert "VACUUM" in reply.json["detail"]


async def test_what_must_be_alone_travels_without_the_configured_settings(upstream):
    session = {"settings": {"app.tenant": "9"}}
    async with run_client(upstream, session=session) as client:
        assert (await client.query("vacuum users")).status == 200
        assert await client.value("select current_setting('app.tenant')") == "9"


@pytest.mark.parametrize("sql", ["do $$ begin end $$", "call missing()"])
@pytest.mark.parametrize("options", [{"read_only": True}, {"isolation": "serializable"}])
async def test_what_could_leave_its_protection_is_refused(client: Client, sql, options):
    reply = await client.query(sql, **options)
    assert reply.status == 403
    assert reply.json["title"] == "statement_not_allowed"


@pytest.mark.parametrize("direction", ["from stdin", "to stdout"])
async def test_copy_that_no_guard_sees_leaves_the_connection_clean(client: Client, direction):
    """A guard reads the beginning of a statement only."""
    reply = await client.query(f"{'/**/' * 10_000}copy users {direction}")
    assert reply.status == 403
    for _ in range(5):
        assert await client.value("select 1") == 1
