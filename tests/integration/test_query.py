"""POST /v1/query: SQL in, rows out."""

import pytest

from tests.fixtures.service import Client, run_client

NEW_USER = "insert into users (name, email, created_at, balance) values ($1, $2, now(), 0)"


@pytest.fixture
async def no_newcomers(client: Client):
    """Take away again what a test has inserted into users."""
    yield
    await client.query("delete from users where email like '%@new.example'")


async def test_rows_come_back_as_objects(client: Client):
    reply = await client.query("select $1::int as number, $2 as word", 7, "seven")
    assert reply.status == 200
    assert reply.json["rows"] == [{"number": 7, "word": "seven"}]
    assert reply.json["row_count"] == 1
    assert reply.json["command"] == "SELECT"
    assert reply.json["truncated"] is False


async def test_an_answer_has_all_its_members(client: Client):
    reply = await client.query("select 1")
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.json.keys() == {
        *("columns", "rows", "row_count", "command", "truncated", "notices", "elapsed_ms"),
    }


async def test_no_rows_are_an_empty_answer(client: Client):
    reply = await client.query("select id from users where false")
    assert reply.json["rows"] == []
    assert reply.json["row_count"] == 0
    assert [column["name"] for column in reply.json["columns"]] == ["id"]


async def test_many_rows_keep_their_order(client: Client):
    rows = await client.rows("select n from generate_series(1, 10000) as n", rows="arrays")
    assert rows == [[number] for number in range(1, 10_001)]


@pytest.mark.usefixtures("no_newcomers")
async def test_a_statement_without_rows_tells_how_many_it_touched(client: Client):
    sql = f"{NEW_USER}, ($1, 'b@new.example', now(), 0)"
    reply = await client.query(sql, "Alan", "a@new.example")
    assert reply.json["command"] == "INSERT"
    assert reply.json["row_count"] == 2
    assert reply.json["columns"] == reply.json["rows"] == []


@pytest.mark.usefixtures("no_newcomers")
async def test_returning_answers_what_was_written(client: Client):
    reply = await client.query(f"{NEW_USER} returning name", "Alan", "a@new.example")
    assert reply.json["rows"] == [{"name": "Alan"}]
    assert reply.json["command"] == "INSERT"
    assert await client.value("select count(*) from users where email = 'a@new.example'") == 1


@pytest.mark.parametrize(
    ("sql", "command"),
    [
        ("comment on table users is null", "COMMENT"),
        ("update users set name = name where false", "UPDATE"),
        ("do $$ begin end $$", "DO"),
        ("explain select 1", "EXPLAIN"),
        ("show server_version", "SHOW"),
        ("values (1)", "SELECT"),
    ],
)
async def test_the_command_is_named(client: Client, sql, command):
    reply = await client.query(sql)
    assert reply.json["command"] == command


@pytest.mark.parametrize("sql", ["vacuum users", "-- alone\nreindex index users_pkey"])
async def test_a_statement_that_must_be_alone_runs(client: Client, sql):
    assert (await client.query(sql)).status == 200


async def test_comments_and_a_last_semicolon_are_part_of_a_statement(client: Client):
    assert await client.value("-- first\nselect /* in */ 1; -- last") == 1


async def test_notices_come_along(client: Client):
    reply = await client.query("do $$ begin raise notice 'careful: %', 'café'; end $$")
    (notice,) = reply.json["notices"]
    assert notice["severity"] == "NOTICE"
    assert notice["message"] == "careful: café"


async def test_of_many_notices_the_first_are_kept(client: Client):
    sql = "do $$ begin for n in 1..1000 loop raise notice '%', n; end loop; end $$"
    reply = await client.query(sql)
    assert [notice["message"] for notice in reply.json["notices"]] == [
        str(number) for number in range(1, 21)
    ]


async def test_no_named_statement_reaches_the_server(client: Client):
    """A named one outlives its transaction and clashes once PgBouncer moves the client."""
    for number in range(20):
        await client.value(f"select {number} + $1::int", 1)
        sql = "select count(*) from pg_prepared_statements where name <> $1"
        assert await client.value(sql, "") == 0


@pytest.mark.parametrize("direction", ["from stdin", "to stdout"])
async def test_copy_that_no_guard_sees_leaves_the_connection_clean(client: Client, direction):
    """A guard reads the beginning of a statement only."""
    reply = await client.query(f"{'/**/' * 10_000}copy users {direction}")
    assert reply.status == 403
    for _ in range(5):
        assert await client.value("select 1") == 1


async def test_what_must_be_alone_never_runs_without_the_configured_role(upstream):
    async with run_client(upstream, session={"role": "app"}) as client:
        reply = await client.query("vacuum users")
        if upstream.kind == "postgres":
            assert reply.status == 200
            return
        assert reply.status == 409
        assert reply.json["title"] == "needs_bare_flight"
        assert "session.role" in reply.json["detail"]
