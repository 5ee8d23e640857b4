"""Batches whose statements run each on its own, and the limits that hold for all of them."""

import pytest

from tests.fixtures.batch import batch
from tests.fixtures.load import open_table
from tests.fixtures.service import assert_nothing_left, run_client

pytestmark = pytest.mark.matrix
MODES = pytest.mark.parametrize("mode", ["separate", "parallel"])
NOT_UTF8 = ("select set_config('client_encoding', 'LATIN1', true)", "select chr(233)")
TWO = "select generate_series(1, 2) as n"


@pytest.fixture(scope="module")
async def client(upstream):
    session = {"settings": {"work_mem": "8MB"}}  # which travels in front behind a PgBouncer
    async with run_client(upstream, pool={"size": 2, "overflow": 0}, session=session) as running:
        yield running
        await assert_nothing_left(running, upstream)


@pytest.fixture
async def table(upstream):
    async with open_table(upstream, "id int, word text") as name:
        yield name


def list_outcomes(reply):
    """Of each result the rows' number, or the error's title."""
    results = reply.json["results"]
    return [each["error"]["title"] if "error" in each else each["row_count"] for each in results]


async def count_cancelled(client):
    return (await client.operations("/stats")).json["events"]["statement_cancelled"]["count"]


@MODES
async def test_limits_count_over_the_results_of_all_statements(client, mode):
    reply = await batch(client, TWO, TWO, TWO, mode=mode, limits={"rows": 5})
    assert sorted(map(str, list_outcomes(reply))) == ["2", "2", "result_too_large"]
    assert list_outcomes(await batch(client, TWO, TWO, mode=mode, limits={"rows": 4})) == [2, 2]


@MODES
async def test_what_is_too_large_leaves_its_room_to_the_others(client, mode):
    large = "select generate_series(1, 5)"
    reply = await batch(client, large, TWO, mode=mode, limits={"rows": 2})
    assert list_outcomes(reply)[0] == "result_too_large"
    assert list_outcomes(await batch(client, TWO, mode=mode, limits={"rows": 2})) == [2]


async def test_rows_of_a_failed_statement_take_no_room(client):
    failing = "select 1 / (2 - n) from generate_series(1, 2) as n"
    reply = await batch(client, failing, TWO, mode="separate", limits={"rows": 2})
    assert list_outcomes(reply) == ["division_by_zero", 2]


@MODES
async def test_bytes_are_those_of_all_results_as_they_are_sent(client, mode):
    quotes = "select repeat('\"', 1000)"  # each of them becomes two
    reply = await batch(client, quotes, quotes, mode=mode, limits={"bytes": 4000})
    assert sorted(map(str, list_outcomes(reply))) == ["1", "result_too_large"]


async def test_an_atomic_answer_that_is_too_large_as_it_is_sent_is_told(client):
    reply = await batch(client, "select repeat('\"', 1000)", limits={"bytes": 1500})
    assert (reply.status, reply.json["title"]) == (413, "result_too_large")
    assert reply.json["executed"] == "yes"


@pytest.mark.parametrize("mode", ["atomic", "separate"])
async def test_a_read_only_batch_is_cancelled_at_its_limit(client, mode):
    endless = "select generate_series(1, 1000000000)"
    before = await count_cancelled(client)
    reply = await batch(client, endless, mode=mode, read_only=True, limits={"rows": 3})
    problem = reply.json if mode == "atomic" else reply.json["results"][0]["error"]
    assert (problem["title"], problem["executed"]) == ("result_too_large", "no")
    assert await count_cancelled(client) == before + 1


@pytest.mark.parametrize("mode", ["atomic", "separate"])
async def test_what_must_be_alone_travels_without_the_configured_settings(client, table, mode):
    reply = await batch(client, f"vacuum {table}", mode=mode)
    assert reply.status == 200, reply.json
    assert reply.json["results"][0]["command"] == "VACUUM"


@MODES
async def test_a_result_has_its_own_notices_and_time(client, mode):
    warn = "do $$ begin raise notice 'one'; end $$"
    reply = await batch(client, "select 1", warn, mode=mode)
    notices = [[each["message"] for each in got["notices"]] for got in reply.json["results"]]
    assert (notices, reply.json["notices"]) == ([[], ["one"]], [])
    assert all(each["elapsed_ms"] > 0 for each in reply.json["results"])


async def test_time_of_the_whole_is_not_the_sum_of_what_ran_at_once(client):
    reply = await batch(client, *["select pg_sleep(0.2)"] * 2, mode="parallel")
    parts_ms = sum(each["elapsed_ms"] for each in reply.json["results"])
    assert 0 < reply.json["elapsed_ms"] < parts_ms


@MODES
async def test_all_sets_of_a_statement_are_one_transaction(client, table, mode):
    insert = {"sql": f"insert into {table} values ($1)", "param_sets": [[1], ["x"]]}
    reply = await batch(client, insert, f"insert into {table} values (3)", mode=mode)
    assert list_outcomes(reply) == ["invalid_text_representation", 1]
    assert await client.rows(f"select id from {table}") == [{"id": 3}]


async def test_options_hold_for_each_statement(client, table):
    statements = [f"insert into {table} values (1)", "show transaction_isolation"]
    options = {"read_only": True, "isolation": "serializable"}
    reply = await batch(client, *statements, mode="separate", **options)
    assert list_outcomes(reply) == ["read_only_sql_transaction", 1]
    assert reply.json["results"][1]["rows"] == [{"transaction_isolation": "serializable"}]


async def test_more_statements_at_once_than_connections_wait_for_them(client):
    reply = await batch(client, *["select 1"] * 20, mode="parallel")
    assert list_outcomes(reply) == [1] * 20


async def test_a_result_that_can_not_be_encoded_has_been_executed(client):
    problem = (await batch(client, *NOT_UTF8)).json
    assert (problem["title"], problem["statement_index"]) == ("encoding_failed", 1)
    assert problem["executed"] == "yes"


@pytest.mark.blocks
async def test_a_result_of_a_dry_run_that_can_not_be_encoded_has_not(client):
    problem = (await batch(client, *NOT_UTF8, dry_run=True)).json
    assert (problem["title"], problem["executed"]) == ("encoding_failed", "no")
