"""POST /v1/batch: several statements, all or nothing, or each on its own."""

import json

import pytest

from tests.fixtures.batch import batch
from tests.fixtures.load import open_table
from tests.fixtures.service import (
    Client,
    assert_nothing_left,
    run_client,
)
from tests.fixtures.wired import run_wired

pytestmark = pytest.mark.matrix
COUNT = "select count(*) as n from {}"


@pytest.fixture(scope="module")
async def client(upstream):
    options = {"limits": {"batch_statements": 20}, "session": {"allowed_roles": ["clerk"]}}
    async with run_client(upstream, pool={"size": 2, "overflow": 0}, **options) as running:
        yield running
        await assert_nothing_left(running, upstream)


@pytest.fixture
async def table(upstream):
    columns = "id int, unique (id) deferrable initially deferred, word text"
    async with open_table(upstream, columns) as name:
        yield name


async def count(client: Client, table: str) -> int:
    return await client.value(COUNT.format(table))


async def test_each_statement_has_its_result(client, table):
    reply = await batch(
        client,
        {"sql": f"insert into {table} values ($1, 'a'), ($2, 'b')", "params": [1, 2]},
        {"sql": f"select id, word from {table} order by id", "rows": "arrays"},
        {"sql": f"delete from {table} where id = :id returning word", "params": {"id": 1}},
        "select 1 where false",
    )
    assert reply.status == 200, reply.json
    inserted, selected, deleted, none = reply.json["results"]
    assert (inserted["command"], inserted["row_count"], inserted["rows"]) == ("INSERT", 2, [])
    assert selected["rows"] == [[1, "a"], [2, "b"]]
    assert [column["type"] for column in selected["columns"]] == ["int4", "text"]
    assert (deleted["rows"], deleted["row_count"]) == ([{"word": "a"}], 1)
    assert (none["rows"], none["command"]) == ([], "SELECT")
    assert reply.json["elapsed_ms"] > 0
    assert await count(client, table) == 1


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_an_error_anywhere_undoes_everything(client, table, place):
    statements = [f"insert into {table} values ({n})" for n in range(2)]
    statements.insert(place, "select 1 / 0")
    reply = await batch(client, *statements)
    problem = reply.json
    assert (reply.status, problem["sqlstate"], problem["statement_index"]) == (400, "22012", place)
    assert problem["executed"] == "no"
    assert await count(client, table) == 0


async def test_a_constraint_that_fails_at_the_end_undoes_everything(client, table):
    insert = f"insert into {table} values (1)"
    problem = (await batch(client, insert, insert)).json
    assert (problem["sqlstate"], problem["phase"], problem["executed"]) == ("23505", "commit", "no")
    assert problem["statement_index"] is None
    assert await count(client, table) == 0


async def test_sets_of_parameters_run_one_statement_many_times(client, table):
    sets = [[n, f"word {n}"] for n in range(500)]
    reply = await batch(
        client,
        {"sql": f"insert into {table} values ($1, $2)", "param_sets": sets},
        {
            "sql": f"update {table} set word = 'new' where id < :top",
            "param_sets": [{"top": 10}, {"top": 0}],
        },
        {"sql": f"delete from {table} where id = $1 returning id", "param_sets": [[1], [2]]},
    )
    inserted, updated, deleted = reply.json["results"]
    assert (inserted["row_count"], inserted["row_counts"]) == (500, [1] * 500)
    assert (updated["row_count"], updated["row_counts"]) == (10, [10, 0])
    assert (deleted["rows"], deleted["row_counts"]) == ([{"id": 1}, {"id": 2}], [1, 1])


async def test_an_error_in_a_set_names_the_statement(client, table):
    reply = await batch(
        client,
        "select 1",
        {"sql": f"insert into {table} values ($1)", "param_sets": [[1], ["x"], [3]]},
    )
    assert (reply.json["sqlstate"], reply.json["statement_index"]) == ("22P02", 1)
    assert await count(client, table) == 0


async def test_options_hold_for_all_of_a_batch_and_for_nobody_after_it(client, table):
    show = "select current_setting('search_path') as a, current_setting('statement_timeout') as b"
    before = await client.rows(show)
    settings = {"search_path": "pg_catalog", "TimeZone": "Asia/Tokyo"}
    reply = await batch(client, show, show, settings=settings)
    assert [each["rows"][0]["a"] for each in reply.json["results"]] == ["pg_catalog"] * 2
    for _ in range(4):
        assert await client.rows(show) == before


async def test_a_read_only_batch_writes_nothing(client, table):
    reply = await batch(client, "select 1", f"insert into {table} values (1)", read_only=True)
    assert (reply.json["sqlstate"], reply.json["statement_index"]) == ("25006", 1)
    reply = await batch(client, "select 1", "select 2", read_only=True, isolation="serializable")
    assert [each["rows"] for each in reply.json["results"]] == [
        [{"?column?": 1}],
        [{"?column?": 2}],
    ]


@pytest.mark.blocks
async def test_a_dry_run_answers_and_leaves_nothing(client, table):
    insert, select = f"insert into {table} values (1)", COUNT.format(table)
    reply = await batch(client, insert, select, dry_run=True)
    assert reply.json["results"][1]["rows"] == [{"n": 1}]
    assert await count(client, table) == 0


async def test_separate_statements_go_on_after_a_failure(client, table):
    insert = f"insert into {table} values (1)"
    reply = await batch(client, insert, "select 1 / 0", f"select id from {table}", mode="separate")
    first, failed, last = reply.json["results"]
    assert (reply.status, first["row_count"], last["rows"]) == (200, 1, [{"id": 1}])
    assert failed["error"]["sqlstate"] == "22012"
    assert failed["error"]["statement_index"] is None


async def test_parallel_statements_run_at_once_and_keep_their_order(upstream):
    async with run_client(upstream, pool={"size": 4, "overflow": 0}) as client:
        sleeps = [f"select pg_sleep(0.2), {n} as n" for n in range(4)]
        reply = await batch(client, *sleeps, "select 1 / 0", mode="parallel")
        results = reply.json["results"]
        assert [each["rows"][0]["n"] for each in results[:4]] == [0, 1, 2, 3]
        assert results[4]["error"]["sqlstate"] == "22012"
        pool = await client.pool()
        assert pool["max_in_use"] > 1
        await assert_nothing_left(client, upstream)


async def test_parallel_statements_are_bounded(upstream):
    limits = {"batch_parallel": 2}
    async with run_client(upstream, pool={"size": 8, "overflow": 0}, limits=limits) as client:
        await batch(client, *["select pg_sleep(0.05)"] * 6, mode="parallel")
        assert (await client.pool())["max_in_use"] == 2


@pytest.mark.parametrize("rows", [3, 4])
async def test_limits_count_over_all_statements(client, rows):
    series = "select generate_series(1, 2) as n"
    reply = await batch(client, series, series, limits={"rows": rows})
    assert reply.status == (200 if rows == 4 else 413)
    if rows == 3:
        assert (reply.json["title"], reply.json["executed"]) == ("result_too_large", "yes")
        cut = await batch(client, series, series, limits={"rows": 3, "on_exceed": "truncate"})
        first, second = cut.json["results"]
        assert (len(first["rows"]), first["truncated"]) == (2, False)
        assert (len(second["rows"]), second["truncated"]) == (1, True)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("begin", "statement_not_allowed"),
        ("set jit = off", "needs_session"),
        ("vacuum", "needs_bare_flight"),
        ("do $$ begin commit; end $$", "statement_not_allowed"),
        ("select 1; select 2", "invalid_request"),
        ("copy users to stdout", "statement_not_allowed"),
    ],
)
async def test_what_can_not_be_part_of_a_batch_is_refused_before_it_is_sent(
    client, table, statement, code
):
    reply = await batch(client, f"insert into {table} values (1)", statement)
    assert (reply.json["title"], reply.json["statement_index"]) == (code, 1)
    assert await count(client, table) == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"statements": []}, "statements is empty"),
        ({}, "JSON object"),
        ({"statements": [{"sql": ""}]}, "sql is empty"),
        ({"statements": [{"sqll": "x"}]}, "did you mean 'sql'"),
        ({"statement": []}, "did you mean 'statements'"),
        ({"statements": [{"sql": "x"}], "mode": "all"}, "mode must be"),
        ({"statements": [{"sql": "x"}], "retry": 4}, "retry must be"),
        (
            {"statements": [{"sql": "x"}], "retry": 1, "mode": "separate"},
            "retry is for mode atomic",
        ),
        ({"statements": [{"sql": "x", "params": 1}]}, "statements must be"),
        ({"statements": [{"sql": "x", "params": [1], "param_sets": [[1]]}]}, "go together"),
        ({"statements": [{"sql": "x", "param_sets": []}]}, "param_sets is empty"),
        ({"statements": [{"sql": "x"}] * 21}, "limits.batch_statements"),
    ],
)
async def test_a_wrong_body_is_refused_with_the_remedy(client, body, words):
    reply = await client.post("/v1/batch", json=body)
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")
    assert words in reply.json["detail"]


async def test_other_bodies_are_refused(client):
    text = {"Content-Type": "application/sql"}
    assert (await client.post("/v1/batch", data=b"select 1", headers=text)).status == 415
    assert (await client.post("/v1/batch?a=1", json={"statements": []})).status == 400


async def test_a_batch_with_role_and_settings_is_one_flight(upstream, notes):
    sections = {"session": {"allowed_roles": ["clerk"]}}
    async with run_wired(upstream, **sections) as wired:
        statements = [
            {"sql": "select current_user::text as who, $1::int as n", "params": [n]}
            for n in range(10)
        ]
        body = {"statements": statements, "role": "clerk", "settings": {"work_mem": "8MB"}}
        mark = wired.wire.mark()
        reply = await wired.client.post("/v1/batch", json=body)
        assert wired.wire.flights(mark) == ["PBE" + "PBDE" * 10 + "S"]
        rows = [each["rows"][0] for each in reply.json["results"]]
        assert rows == [{"who": "clerk", "n": n} for n in range(10)]
        await assert_nothing_left(wired.client, upstream)


async def test_values_come_as_in_a_query(client):
    sql = "select 1.50::numeric as n, '{\"a\": [1]}'::jsonb as j, 9007199254740993::int8 as i"
    reply = await batch(client, {"sql": sql, "int8": "string", "numeric": "number"})
    assert json.loads(reply.body)["results"][0]["rows"] == [
        {"n": 1.5, "j": {"a": [1]}, "i": "9007199254740993"}
    ]
