"""What statements do in a transaction that stays open, and which ones it takes."""

import asyncio

import pytest

from tests.fixtures.load import open_table
from tests.fixtures.service import assert_nothing_left, run_client
from tests.fixtures.stream import NUMBERS
from tests.fixtures.transaction import Transaction

pytestmark = [pytest.mark.matrix, pytest.mark.blocks]
SESSION = {"allowed_roles": ["clerk"]}


@pytest.fixture(scope="module")
async def client(upstream, notes):
    """Two transactions at most on four connections."""
    pool = {"size": 4, "overflow": 0}
    async with run_client(
        upstream, pool=pool, limits={"held_share": 0.5}, session=SESSION
    ) as running:
        yield running


@pytest.fixture(autouse=True)
async def _nothing_left(client, upstream):
    yield
    await assert_nothing_left(client, upstream)
    assert (await client.operations("/stats")).json["transactions"]["open"] == 0


@pytest.fixture
async def table(upstream):
    async with open_table(upstream, "id int primary key") as name:
        yield name


async def test_a_write_in_a_read_only_one_is_refused(client, table):
    transaction = await Transaction.begin(client, read_only=True)
    reply = await transaction.query(f"insert into {table} values (1)")
    assert (reply.status, reply.json["sqlstate"]) == (403, "25006")
    await transaction.rollback()


@pytest.mark.parametrize(
    "members",
    [
        {"isolation": "serializable"},
        {"read_only": True},
        {"dry_run": True},
        {"role": "clerk"},
        {"settings": {"app.x": "1"}},
    ],
)
async def test_a_statement_takes_no_options_of_its_own(client, members):
    transaction = await Transaction.begin(client)
    reply = await transaction.query("select 1", **members)
    assert reply.status == 400
    assert reply.json["detail"].startswith(next(iter(members)))
    assert (await transaction.state()).json["state"] == "idle"
    await transaction.rollback()


async def test_savepoints_work(client, table):
    transaction = await Transaction.begin(client)
    for sql in (
        f"insert into {table} values (1)",
        "savepoint one",
        f"insert into {table} values (2)",
        "rollback to one",
        "release savepoint one",
    ):
        assert (await transaction.query(sql)).status == 200
    await transaction.commit()
    assert await client.rows(f"select id from {table}") == [{"id": 1}]


async def test_a_cursor_lives_as_long_as_its_transaction(client):
    transaction = await Transaction.begin(client)
    await transaction.query("declare numbers cursor for select * from generate_series(1, 5) n")
    pages = [(await transaction.query("fetch 2 numbers")).json["rows"] for _ in range(3)]
    assert [[row["n"] for row in page] for page in pages] == [[1, 2], [3, 4], [5]]
    await transaction.query("close numbers")
    await transaction.commit()


async def test_a_temporary_table_lives_as_long_as_its_transaction(client):
    transaction = await Transaction.begin(client)
    await transaction.query("create temp table basket (id int) on commit drop")
    await transaction.query("insert into basket values (7)")
    assert await transaction.value("select id from basket") == 7
    await transaction.commit()
    assert await client.value("select to_regclass('basket') is null")


async def test_set_local_holds_to_its_end(client):
    transaction = await Transaction.begin(client)
    await transaction.query("set local app.x = '5'")
    assert await transaction.value("select current_setting('app.x')") == "5"
    await transaction.commit()
    assert await client.value("select current_setting('app.x', true)") in {None, ""}


@pytest.mark.parametrize(
    ("sql", "code", "words"),
    [
        ("begin", "statement_not_allowed", "/commit"),
        ("start transaction read only", "statement_not_allowed", "/commit"),
        ("commit", "statement_not_allowed", "/commit"),
        ("end", "statement_not_allowed", "/commit"),
        ("rollback", "statement_not_allowed", "/rollback"),
        ("abort", "statement_not_allowed", "/rollback"),
        ("commit and chain", "statement_not_allowed", "/commit"),
        ("prepare transaction 'x'", "statement_not_allowed", "/commit"),
        ("set transaction read write", "statement_not_allowed", "begins"),
        ("set local datestyle = 'German'", "statement_not_allowed", "how values are read"),
        ('set local "client_encoding" to latin1', "statement_not_allowed", "how values are read"),
        ("set local names 'latin1'", "statement_not_allowed", "how values are read"),
        ("copy notes to stdout", "statement_not_allowed", "/v1/stream"),
        ("set work_mem = '1MB'", "needs_session", "SET"),
        ("set role clerk", "needs_session", "SET ROLE"),
        ("listen news", "needs_session", "LISTEN"),
        ("select pg_advisory_lock(1)", "needs_session", "pg_advisory_xact_lock"),
        ("create temp table t (id int)", "needs_session", "temporary"),
        ("declare c cursor with hold for select 1", "needs_session", "WITH HOLD"),
        ("vacuum notes", "needs_bare_flight", "/v1/query"),
        ("commit prepared 'x'", "needs_bare_flight", "/v1/query"),
        ("select 1; select 2", "invalid_request", "one per request"),
        ("-- nothing", "invalid_request", "no statement"),
    ],
)
async def test_what_a_transaction_cannot_run_is_not_sent(client, sql, code, words):
    transaction = await Transaction.begin(client)
    reply = await transaction.query(sql)
    assert (reply.json["title"], reply.json["executed"]) == (code, "no")
    assert words in reply.json["detail"]
    assert (await transaction.state()).json["state"] == "idle"
    await transaction.rollback()


async def test_a_commit_in_a_block_is_refused_by_the_server(client, table):
    transaction = await Transaction.begin(client)
    await transaction.query(f"insert into {table} values (1)")
    reply = await transaction.query("do $$ begin commit; end $$")
    assert (reply.json["sqlstate"], reply.json["executed"]) == ("2D000", "no")
    await transaction.rollback()
    assert await client.value(f"select count(*) from {table}") == 0


async def test_without_its_guard_a_commit_as_sql_is_seen_all_the_same(client, monkeypatch):
    """The twin of the test above."""

    monkeypatch.setattr("proxy.query.execute.check_query", lambda *_: None)
    transaction = await Transaction.begin(client)
    reply = await transaction.query("commit")
    assert (reply.status, reply.json["executed"]) == (403, "unknown")
    over = await transaction.state()
    assert (over.status, over.json["executed"]) == (410, "unknown")


async def test_after_an_error_it_is_failed_until_it_goes_back(client, table):
    transaction = await Transaction.begin(client)
    await transaction.query(f"insert into {table} values (1)")
    await transaction.query("savepoint one")
    reply = await transaction.query("select 1/0")
    assert (reply.status, reply.json["sqlstate"]) == (400, "22012")
    assert (await transaction.state()).json["state"] == "failed"
    refused = await transaction.query("select 1")
    assert (refused.status, refused.json["sqlstate"]) == (409, "25P02")
    await transaction.query("rollback to savepoint one")
    assert (await transaction.state()).json["state"] == "idle"
    await transaction.commit()
    assert await client.value(f"select count(*) from {table}") == 1


async def test_a_failed_one_cannot_be_committed(client, table):
    transaction = await Transaction.begin(client)
    await transaction.query(f"insert into {table} values (1)")
    await transaction.query("select 1/0")
    problem = (await transaction.commit()).json
    assert (problem["status"], problem["title"]) == (409, "transaction_failed")
    assert (problem["phase"], problem["executed"]) == ("commit", "no")
    assert await client.value(f"select count(*) from {table}") == 0


async def test_an_error_keeps_its_position(client):
    transaction = await Transaction.begin(client)
    body = {"sql": "select :a::int, nope", "params": {"a": 1}}
    reply = await client.post(f"{transaction.path}/query", json=body)
    assert reply.json["position"] == 17
    await transaction.rollback()


async def test_a_deferred_violation_fails_the_commit(client, upstream):
    columns = "id int unique deferrable initially deferred"
    async with open_table(upstream, columns) as table:
        transaction = await Transaction.begin(client)
        assert (await transaction.query(f"insert into {table} values (1), (1)")).status == 200
        problem = (await transaction.commit()).json
        assert (problem["status"], problem["sqlstate"]) == (409, "23505")
        assert (problem["phase"], problem["executed"]) == ("commit", "no")
        assert (await transaction.state()).json["executed"] == "no"


async def test_a_serialization_failure_concerns_the_whole_transaction(client, table):
    await client.rows(f"insert into {table} values (1)")
    one = await Transaction.begin(client, isolation="repeatable read")
    await one.value(f"select count(*) from {table}")
    await client.rows(f"update {table} set id = 2")
    problem = (await one.query(f"update {table} set id = 3")).json
    assert (problem["sqlstate"], problem["executed"]) == ("40001", "no")
    assert problem["retryable"] is False  # the same request again would be 25P02
    await one.rollback()


async def test_a_serialization_failure_at_the_commit_is_one_of_the_commit(client, table):
    await client.rows(f"insert into {table} values (1), (2)")
    one, other = [await Transaction.begin(client, isolation="serializable") for _ in range(2)]
    for transaction, id_ in ((one, 1), (other, 2)):
        await transaction.value(f"select count(*) from {table}")
        await transaction.query(f"update {table} set id = id + 10 where id = $1", id_)
    assert (await one.commit()).status == 200
    problem = (await other.commit()).json
    assert (problem["sqlstate"], problem["phase"]) == ("40001", "commit")
    assert (problem["executed"], problem["retryable"]) == ("no", False)


async def test_a_request_that_is_cancelled_between_two_flights_ends_it(client):
    transaction = await Transaction.begin(client)
    with pytest.raises(asyncio.CancelledError):
        async with client.service.logins.default.transactions.use(transaction.begun.json["id"]):
            raise asyncio.CancelledError
    assert "a client went away" in (await transaction.state()).json["detail"]


async def test_a_stream_runs_inside(client, table):
    transaction = await Transaction.begin(client)
    await transaction.query(f"insert into {table} select generate_series(1, 3)")
    answer = await transaction.stream(f"select id from {table} order by id")
    assert [line["row"]["id"] for line in answer.lines[1:-1]] == [1, 2, 3]
    assert answer.lines[-1]["end"]["row_count"] == 3
    assert (await transaction.state()).json["state"] == "idle"
    await transaction.rollback()


async def test_a_stream_that_fails_fails_the_transaction(client):
    transaction = await Transaction.begin(client)
    answer = await transaction.stream("select 1/(3 - n) from generate_series(1, 3) n")
    assert answer.lines[-1]["error"]["sqlstate"] == "22012"
    assert (await transaction.state()).json["state"] == "failed"
    await transaction.rollback()


async def test_after_a_long_stream_the_next_statement_may_come_at_once(client):
    transaction = await Transaction.begin(client)
    for _ in range(20):
        answer = await transaction.stream(NUMBERS, 2000)
        assert answer.lines[-1]["end"]["row_count"] == 2000
        assert await transaction.value("select 1") == 1
    await transaction.commit()


async def test_an_answer_over_its_limit_leaves_the_transaction_as_it_is(client):
    transaction = await Transaction.begin(client)
    sql = "select generate_series(1, 5) as n"
    reply = await transaction.query(sql, limits={"rows": 2})
    assert (reply.status, reply.json["executed"]) == (413, "yes")
    reply = await transaction.query(sql, limits={"rows": 2, "on_exceed": "truncate"})
    assert (len(reply.json["rows"]), reply.json["truncated"]) == (2, True)
    assert (await transaction.commit()).status == 200


async def test_types_made_in_it_are_known_in_it(client):
    transaction = await Transaction.begin(client)
    await transaction.query("create type pg_temp_mood as enum ('well')")
    reply = await transaction.query("select 'well'::pg_temp_mood as mood")
    assert reply.json["columns"][0]["type"] == "pg_temp_mood"
    await transaction.rollback()
