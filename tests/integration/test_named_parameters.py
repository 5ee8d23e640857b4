"""Named parameters: `:name` in SQL, an object in `params`."""

import pytest

from tests.fixtures.service import Client

pytestmark = pytest.mark.matrix


async def query(client: Client, sql, params, **members):
    return await client.post("/v1/query", json={"sql": sql, "params": params, **members})


async def read(client: Client, sql, params):
    """The one row of a query that must succeed."""
    reply = await query(client, sql, params, rows="arrays")
    assert reply.status == 200, reply.json
    (row,) = reply.json["rows"]
    return row


async def test_values_go_by_their_names(client: Client):
    params = {"b": "text", "a": 1, "ordnung_ä": None}
    sql = "select :a::int, :b || '!', :ordnung_ä::int"
    assert await read(client, sql, params) == [1, "text!", None]


async def test_a_name_may_be_repeated(client: Client):
    sql = "select :a::int, :b::int, :a::int where :a::int = 1"
    assert await read(client, sql, {"a": 1, "b": 2}) == [1, 2, 1]


async def test_values_of_all_kinds_survive(client: Client):
    sql = "select :n::numeric::text, :flag::bool, :list::int[], :doc::jsonb->'a', :b::bytea"
    params = {"n": 1.10, "flag": True, "list": [1, 2], "doc": {"a": [1]}, "b": {"$bytea": "AP8="}}
    assert await read(client, sql, params) == ["1.1", True, [1, 2], [1], "AP8="]


async def test_an_object_without_members_is_none_at_all(client: Client):
    assert await read(client, "select 1", {}) == [1]


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        ("select '12'::int + :a", 13),
        ("select (array[1,2,3])[(:a):2]", [1, 2]),
        ("with a(a) as (values (array[1,2])) select a[:1] from a where :a = 1", [1]),
        ("select (array[1,2,3])[1:2] where :a = 1", [1, 2]),
        ("select (array[1,2,3])[(:a)::int]", 1),
        ("select ':b' || ' :c' where :a = 1", ":b :c"),
        ("select $$:b$$ where :a = 1 -- :c", ":b"),
        ('select 1 as ":b" /* :c */ where :a = 1', 1),
        ("select make_interval(days := :a)::text", "1 day"),
        ("select jsonb_build_object('b', :a::int)", {"b": 1}),
    ],
)
async def test_other_colons_are_no_parameters(client: Client, sql, answer):
    assert await read(client, sql, {"a": 1}) == [answer]


@pytest.mark.parametrize(
    "sql",
    [
        "select :first, :second::int, nope",
        "select nope, :first::text, :second",
        "select 'élan 🐘', :first::text, :second::int, nope",
        "select :first::text,\n  :second::int,\n  nope(:first)",
    ],
)
async def test_a_position_is_that_of_the_sql_as_sent(client: Client, sql):
    reply = await query(client, sql, {"first": "a", "second": 2})
    assert reply.status == 400
    assert reply.json["position"] == sql.index("nope") + 1


async def test_a_position_at_a_parameter_is_that_of_its_colon(client: Client):
    sql = "select :long_name::text, 1 + :other_name::text"
    reply = await query(client, sql, {"long_name": "a", "other_name": "b"})
    assert reply.json["sqlstate"] == "42883"
    assert reply.json["position"] == sql.index("+") + 1


@pytest.mark.parametrize("params", [{"a": 1}, {}])
async def test_both_kinds_in_one_statement_are_refused(client: Client, params):
    reply = await query(client, "select :a::int + $1::int", params)
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")
    assert reply.json["detail"] == "sql has both $1 and :name parameters; use one kind"


async def test_a_missing_value_is_named(client: Client):
    reply = await query(client, "select :a::int + :b::int", {"a": 1})
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")
    assert reply.json["detail"] == "params has no member for :b"


async def test_a_missing_value_gets_the_nearest_name(client: Client):
    reply = await query(client, "select :tenant::int", {"tennant": 1})
    assert reply.json["detail"] == "params has no member for :tenant; did you mean 'tennant'?"


async def test_a_surplus_value_gets_the_nearest_name(client: Client):
    reply = await query(client, "select :tenant::int", {"tenant": 1, "tennant": 1})
    assert reply.status == 400
    assert reply.json["detail"].startswith("sql has no parameter :tennant")
    assert "'tenant'" in reply.json["detail"]


async def test_values_stay_out_of_every_refusal(client: Client):
    for sql in ("select :a", "select :b + $1", "select 1"):
        reply = await query(client, sql, {"secret_of": "hunter2", "b": "hunter2"})
        assert reply.status == 400
        assert "hunter2" not in reply.body.decode()


async def test_types_go_with_positions(client: Client):
    reply = await query(client, "select :a", {"a": 1}, types=["int8"])
    assert reply.status == 400
    assert ":name::type" in reply.json["detail"]


async def test_an_array_of_params_leaves_colons_to_the_server(client: Client):
    reply = await query(client, "select :a::int + $1", [1])
    assert reply.json["sqlstate"] == "42601"
