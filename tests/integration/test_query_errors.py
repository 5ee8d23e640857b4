"""Errors of the server as problems: status, code, place, and what became of the statement."""

import asyncio

import asyncpg
import pytest

from tests.fixtures.service import OUR_NAME, Client, find_backend, observe, run_client

pytestmark = pytest.mark.matrix

MEMBERS = {
    *("type", "title", "status", "detail", "instance", "request_id", "sqlstate", "severity"),
    *("pg_detail", "hint", "position", "schema", "table", "column", "constraint"),
    *("line", "phase", "executed", "retryable", "retry_after_ms", "statement_index"),
}
NEW_USER = "insert into users (name, email, created_at, balance) values "

# What SQL itself provokes: statement, SQLSTATE, status.
PROVOKED = [
    ("select 'x'::int", "22P02", 400),
    ("select 1/0", "22012", 400),
    ("select '2026-02-30'::date", "22008", 400),
    ("select 99999999999::int", "22003", 400),
    ("selekt 1", "42601", 400),
    ("select * from missing", "42P01", 400),
    ("select missing from users", "42703", 400),
    ("select missing()", "42883", 400),
    ("select $1::int", "08P01", 400),
    ("do $$ begin raise 'no'; end $$", "P0001", 400),
    (f"select concat({','.join('1' * 101)})", "54023", 400),
    ("select (select id from users)", "21000", 400),
    ("drop type mood", "2BP01", 400),
    (f"{NEW_USER} ('A', 'user1@example.com', now(), 0)", "23505", 409),
    ("insert into orders (user_id, placed_on, amount) values (0, now(), 1)", "23503", 409),
    ("insert into rooms values ('[5,6)')", "23P01", 409),
    (f"{NEW_USER} (null, 'a@new.example', now(), 0)", "23502", 422),
    (f"{NEW_USER} ('A', 'a@new.example', now(), -1)", "23514", 422),
    ("select 101::percentage", "23514", 422),
    ("update seats set position = 2 where id = 1 returning id", "23505", 409),
    ("select * from pg_authid", "42501", 403),
]

# What only circumstances provoke, raised by a function: SQLSTATE, status, retryable.
RAISED = [
    ("25P02", 409, False),
    ("40001", 409, True),
    ("40P01", 409, True),
    ("55P03", 409, True),
    ("55006", 409, False),
    ("53100", 507, False),
    ("53200", 503, True),
    ("53300", 400, False),
    ("28P01", 400, False),
    ("08006", 400, False),
    ("57P01", 400, False),
    ("57P03", 400, False),
    ("57014", 504, False),
    ("44000", 422, False),
    ("0A000", 400, False),
    ("XX001", 500, False),
    ("72000", 500, False),
    ("ZZ999", 500, False),
]


@pytest.fixture(scope="module", autouse=True)
async def objects(upstream):
    """Make a table with an exclusion constraint, and a function that raises any SQLSTATE."""
    owner = await asyncpg.connect(upstream.postgres_dsn.replace("postgres@", "app@"))
    await owner.execute("""
        create table rooms (taken int4range, exclude using gist (taken with &&));
        insert into rooms values ('[1,10)');
        create function raise_state(state text) returns int language plpgsql as
            $$ begin raise using errcode = state, message = 'raised'; end $$;
    """)
    yield
    await owner.execute("drop table rooms; drop function raise_state")
    await owner.close()


@pytest.mark.parametrize(("sql", "sqlstate", "status"), PROVOKED)
async def test_an_error_of_the_server_has_its_status(client: Client, sql, sqlstate, status):
    reply = await client.query(sql)
    assert (reply.json["sqlstate"], reply.status) == (sqlstate, status)
    assert reply.json["retryable"] is False


@pytest.mark.parametrize(("sqlstate", "status", "is_retryable"), RAISED)
async def test_a_raised_error_has_its_status(client: Client, sqlstate, status, is_retryable):
    reply = await client.query("select raise_state($1)", sqlstate)
    assert (reply.json["sqlstate"], reply.status) == (sqlstate, status)
    assert reply.json["retryable"] is is_retryable


@pytest.mark.parametrize("sqlstate", ["57P01", "08006", "53300", "28P01"])
async def test_a_raised_error_costs_no_connection(client: Client, sqlstate):
    before = (await client.operations("/stats")).json["events"]["connection_closed"]
    for _ in range(8):
        await client.query("select raise_state($1)", sqlstate)
    assert (await client.operations("/stats")).json["events"]["connection_closed"] == before


@pytest.mark.parametrize("sql", ["select 1/0", "select nope", "select $1"])
async def test_a_problem_has_all_its_members(client: Client, sql):
    reply = await client.query(sql)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json.keys() == MEMBERS
    assert reply.json["status"] == reply.status
    assert reply.json["instance"] == "/v1/query"
    assert reply.json["request_id"] == reply.headers["X-Request-Id"]
    assert reply.json["type"].endswith(f"#{reply.json['title']}")


@pytest.mark.parametrize("way", [{}, {"X-Unusual": "1"}], ids=["express", "aiohttp"])
@pytest.mark.parametrize("shown", [False, True])
async def test_the_row_of_a_violation_is_told_where_a_setting_says_so(upstream, shown, way):
    insert = f"{NEW_USER} ('A', 'user1@example.com', now(), 0)"
    async with run_client(upstream, sql={"constraint_details": shown}) as client:
        reply = await client.post("/v1/query", json={"sql": insert}, headers=way)
        body = {"statements": [{"sql": insert}], "mode": "separate"}
        inner = (await client.post("/v1/batch", json=body)).json["results"][0]["error"]
        for problem in (reply.json, inner):
            assert ("user1@example.com" in str(problem)) is shown


async def test_a_violation_names_the_constraint_and_its_place(client: Client):
    reply = await client.query(f"{NEW_USER} ('A', 'user1@example.com', now(), 0)")
    problem = reply.json
    assert problem["title"] == "unique_violation"
    assert problem["detail"].startswith("duplicate key value violates")
    assert problem["pg_detail"] is None
    assert problem["constraint"] == "users_email_key"
    assert (problem["schema"], problem["table"]) == ("public", "users")
    assert (problem["severity"], problem["phase"]) == ("ERROR", "execute")
    assert problem["executed"] == "no"


async def test_a_null_names_its_column(client: Client):
    reply = await client.query(f"{NEW_USER} (null, 'a@new.example', now(), 0)")
    assert reply.json["column"] == "name"


async def test_the_hint_of_the_server_is_told(client: Client):
    reply = await client.query("select nam from users")
    assert reply.json["hint"] == 'Perhaps you meant to reference the column "users.name".'


@pytest.mark.parametrize("before", ["", "'🐘é' as a,\n\t", "/* ünï */ "])
@pytest.mark.parametrize("settings", [{}, {"app.tenant": "7"}])
async def test_the_position_counts_characters(client: Client, before, settings):
    sql = f"select {before}nope"
    reply = await client.query(sql, settings=settings)
    assert sql[reply.json["position"] - 1 :] == "nope"


async def test_a_deferred_violation_after_the_rows_is_no_success(client: Client):
    sql = "update seats set position = position % 2 + 1 where id in (3, 4) returning id"
    reply = await client.query(sql)
    assert reply.status == 409
    assert reply.json["sqlstate"] == "23505"
    assert reply.json["constraint"] == "seats_position_key"
    assert reply.json["executed"] == "no"
    assert await client.value("select count(*) from seats where id = position") == 20


async def test_a_statement_that_may_commit_inside_is_unknown_after_an_error(client: Client):
    reply = await client.query("do $$ begin raise 'no'; end $$")
    assert reply.json["executed"] == "unknown"


async def test_a_lock_that_is_held_is_worth_another_try(client: Client, upstream):
    async with observe(upstream) as observer, observer.transaction():
        await observer.execute("select * from users where id = 1 for update")
        sql = "select id from users where id = 1 for update"
        for reply in (
            await client.query(f"{sql} nowait"),
            await client.query(sql, settings={"lock_timeout": "50ms"}),
        ):
            assert (reply.status, reply.json["sqlstate"]) == (409, "55P03")
            assert reply.json["retryable"] is True


async def test_a_cancel_by_somebody_else_is_told_apart(client: Client, upstream):
    async with observe(upstream) as observer:
        running = asyncio.create_task(client.query("select pg_sleep(30) /* cancelled */"))
        await observer.execute(
            "select pg_cancel_backend($1)", await find_backend(observer, "/* cancelled */")
        )
    reply = await running
    assert reply.status == 499
    assert reply.json["sqlstate"] == "57014"
    assert reply.json["executed"] == "no"


async def test_a_killed_backend_leaves_the_outcome_unknown(client: Client, upstream):
    async with observe(upstream) as observer:
        running = asyncio.create_task(client.query("select pg_sleep(30) /* killed */"))
        await observer.execute(
            "select pg_terminate_backend($1)", await find_backend(observer, "/* killed */")
        )
    reply = await running
    assert reply.status == 503
    assert reply.json["title"] == "upstream_unavailable"
    assert reply.json["executed"] == "unknown"
    assert reply.json["retryable"] is False
    assert await client.value("select 1") == 1


@pytest.mark.parametrize("idle_s", [0, 60], ids=["in SQLAlchemy's pool", "as lanes"])
async def test_idle_backends_that_are_killed_go_unnoticed(upstream, idle_s):
    pool = {"size": 4, "overflow": 0, "idle_s": idle_s}
    async with run_client(upstream, pool=pool) as client, observe(upstream) as observer:
        for _ in range(3):
            await asyncio.gather(*(client.value("select pg_sleep(0.01)") for _ in range(8)))
            await observer.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
                "where application_name = $1 and state = 'idle'",
                OUR_NAME,
            )
            replies = await asyncio.gather(*(client.query("select 1") for _ in range(8)))
            assert {reply.status for reply in replies} == {200}
