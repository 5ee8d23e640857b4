"""Parameters: JSON in, text on the wire, types inferred by the server or named."""

from io import BytesIO

import orjson
import pytest

from tests.fixtures.service import Client

JSON = {"Content-Type": "application/json"}
SQL = {"Content-Type": "application/sql"}
UNTYPED = [
    ("select $1 + $2", "42725"),
    ("select unnest($1)", "42725"),
    ("select concat($1)", "42P18"),
    ("select $1 is null", "42P18"),
    ("select 1 from users where $1 is null or id = $1", "42P08"),
    ("select coalesce($1, 1, true)", "42804"),
]


async def post_raw(client: Client, body: str):
    """Send a body byte by byte as it is written."""
    return await client.post("/v1/query", data=body.encode(), headers=JSON)


async def post_json(client: Client, **members):
    return await client.post("/v1/query", json=members)


async def test_null_is_null(client: Client):
    assert await client.value("select $1::int is null", None) is True


async def test_booleans_are_booleans(client: Client):
    sql = "select not $1, $2 and true"
    assert await client.rows(sql, True, False, rows="arrays") == [[False, False]]


@pytest.mark.parametrize("number", ["1.10", "123456789012345678901234567890.123", "1e2", "-0"])
async def test_a_number_travels_as_it_was_written(client: Client, number):
    body = f'{{"sql": "select $1::text as text", "params": [{number}]}}'
    assert (await post_raw(client, body)).json["rows"] == [{"text": number}]


async def test_a_string_travels_as_it_is(client: Client):
    text = 'it\'s "quoted" \\ \n\t\u2028 🐘 null'
    assert await client.value("select $1", text) == text


async def test_escapes_mean_the_same_as_characters(client: Client):
    body = r'{"sql": "select $1 as \u0061", "params": ["caf\u00e9 \ud83d\udc18 \/"]}'
    assert (await post_raw(client, body)).json["rows"] == [{"a": "café 🐘 /"}]


async def test_a_string_can_stand_for_any_type(client: Client):
    sql = "select $1::date, $2::int + 1, $3::mood, $4::int4range, $5::uuid"
    uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
    (row,) = await client.rows(sql, "2026-01-02", "7", "happy", "[1,5)", uuid, rows="arrays")
    assert row == ["2026-01-02", 8, "happy", "[1,5)", uuid]


async def test_the_server_infers_the_type(client: Client):
    sql = "select id from users where id = $1 and created_at > $2 and balance < $3"
    assert await client.rows(sql, 5, "2025-01-01", 10.5) == [{"id": 5}]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int[]", [1, None, 3]),
        ("int[]", []),
        ("int[]", [[1, 2], [3, 4]]),
        ("text[]", ["", "NULL", None, 'a "b"', "c,d", "{e}", "back\\slash", "new\nline", " f "]),
        ("bool[]", [True, None]),
        ("mood[]", ["sad", "happy"]),
        ("text[]", [[["a"], [None]]]),
    ],
)
async def test_an_array_becomes_an_array(client: Client, kind, value):
    assert await client.value(f"select $1::{kind}", value) == value


@pytest.mark.parametrize("value", [{"a": [1, None, "x"]}, [{"a": 1}, 2], {}, {"$json": 1, "b": 2}])
async def test_an_object_or_an_array_with_one_becomes_json(client: Client, value):
    assert await client.value("select $1::jsonb", value) == value


@pytest.mark.parametrize(
    "value", ["text", 1.5, True, [1, [2]], [], {"$json": 1}, {"$bytea": "eA=="}]
)
@pytest.mark.parametrize("kind", ["json", "jsonb"])
async def test_with_a_json_type_every_value_is_json(client: Client, kind, value):
    expected = value["$json"] if isinstance(value, dict) and "$json" in value else value
    assert await client.value("select $1", value, types=[kind]) == expected


@pytest.mark.parametrize("value", ["text", 1.5, True, [1, 2], [], {"a": 1}])
async def test_a_json_wrapper_makes_every_value_json(client: Client, value):
    assert await client.value("select $1::jsonb", {"$json": value}) == value


async def test_null_is_null_with_a_json_type_and_in_a_wrapper(client: Client):
    sql = "select $1 is null, $2::jsonb is null"
    assert await client.rows(sql, None, {"$json": None}, types=["jsonb"], rows="arrays") == [
        [True, True]
    ]


async def test_an_array_of_json_has_documents_as_elements(client: Client):
    value = [{"a": 1}, [1, 2], "text", 3, None]
    assert await client.value("select $1", value, types=["jsonb[]"]) == value


async def test_bytes_come_in_base64(client: Client):
    sql = "select $1 as bytes, pg_typeof($1)::text as kind, length($1) as size"
    assert await client.rows(sql, {"$bytea": "AP+A"}) == [
        {"bytes": "AP+A", "kind": "bytea", "size": 3}
    ]


async def test_bytes_that_are_no_base64_are_refused(client: Client):
    reply = await client.query("select $1", {"$bytea": "secret!"})
    assert reply.status == 400
    assert "parameter $1" in reply.json["detail"]
    assert "base64" in reply.json["detail"]
    assert "secret" not in reply.body.decode()


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("int8", "bigint"),
        ("INTEGER", "integer"),
        ("timestamp with time zone", "timestamp with time zone"),
        ("varchar", "character varying"),
        ("uuid[]", "uuid[]"),
        ("int[][]", "integer[]"),
    ],
)
async def test_a_type_can_be_named(client: Client, kind, named):
    assert await client.value("select pg_typeof($1)::text", None, types=[kind]) == named


async def test_types_may_be_missing_or_null(client: Client):
    sql = "select pg_typeof($1)::text, pg_typeof($2)::text, $3::int"
    (row,) = await client.rows(sql, 1, 2, 3, types=["int2", "int8"], rows="arrays")
    assert row == ["smallint", "bigint", 3]
    assert await client.value("select $1::int + $2", 1, 2, types=[None, "int4"]) == 3


async def test_more_types_than_parameters_are_refused(client: Client):
    reply = await client.query("select $1", 1, types=["int4", "int4"])
    assert reply.status == 400
    assert "types has 2 entries for 1 parameters" in reply.json["detail"]


async def test_an_unknown_type_gets_the_remedies(client: Client):
    reply = await client.query("select $1, $2", 1, "x", types=[None, "in4"])
    assert reply.status == 400
    assert "types[1]" in reply.json["detail"]
    assert "$2::in4" in reply.json["detail"]
    assert "did you mean 'int4'?" in reply.json["detail"]


@pytest.mark.parametrize(("sql", "sqlstate"), UNTYPED)
async def test_a_parameter_without_a_type_gets_the_remedy(client: Client, sql, sqlstate):
    reply = await client.query(sql, *["1"] * max(1, sql.count("$2") + 1))
    assert reply.status == 400
    assert reply.json["sqlstate"] == sqlstate
    assert "`types`" in reply.json["hint"]


async def test_a_wrong_type_of_what_is_no_parameter_gets_the_hint_of_the_server(client: Client):
    reply = await client.query("select coalesce(1, true), $1::int", 1, types=["int4"])
    assert reply.json["sqlstate"] == "42804"
    assert reply.json["hint"] is None


@pytest.mark.parametrize("params", [[], [1, 2, 3]])
async def test_a_wrong_number_of_parameters_is_refused_by_the_server(client: Client, params):
    reply = await client.query("select $1::int, $2::int", *params)
    assert reply.status == 400
    assert reply.json["sqlstate"] == "08P01"
    assert f"supplies {len(params)} parameters" in reply.json["detail"]


async def test_parameters_can_have_names(client: Client):
    params = {"low": 2, "high": 4, "word": "it's"}
    sql = "select id, :word as word from seats where id > :low and id < :high and :low::int > 0"
    reply = await post_json(client, sql=sql, params=params)
    assert reply.json["rows"] == [{"id": 3, "word": "it's"}]


async def test_a_colon_that_names_nothing_is_left_alone(client: Client):
    sql = "select ':a', 1::int, (array[1,2,3])[1:2], $$ :b $$, :c /* :d */ -- :e"
    reply = await post_json(client, sql=sql, params={"c": "x"}, rows="arrays")
    assert reply.json["rows"] == [[":a", 1, [1, 2], " :b ", "x"]]


async def test_the_position_of_an_error_is_that_of_the_sql_as_it_was_sent(client: Client):
    sql = "select :a_long_name::text, '🐘', :b::int, nope"
    reply = await post_json(client, sql=sql, params={"a_long_name": "x", "b": 1})
    assert sql[reply.json["position"] - 1 :] == "nope"


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"sql": "select :a, :b", "params": {"a": 1}}, "params has no member for :b"),
        ({"sql": "select :name", "params": {"name": 1, "nam": 1}}, "did you mean 'name'?"),
        ({"sql": "select :a, $1", "params": {"a": 1}}, "both $1 and :name"),
        ({"sql": "select :a", "params": {"a": 1}, "types": ["int4"]}, ":name::type"),
    ],
)
async def test_named_parameters_that_do_not_fit_are_refused(client: Client, members, words):
    reply = await post_json(client, **members)
    assert reply.status == 400
    assert words in reply.json["detail"]


async def test_as_many_parameters_as_the_drivers_take_are_taken(client: Client):
    names = ",".join(f"(${number}::int)" for number in range(1, 32_768))
    sql = f"select count(*), sum(n) from (values {names}) as t(n)"
    body = BytesIO(orjson.dumps({"sql": sql, "params": [*range(1, 32_768)]}))
    reply = await client.post("/v1/query", data=body, headers=JSON)
    assert reply.json["rows"] == [{"count": 32_767, "sum": 32_767 * 32_768 // 2}]


async def test_a_bare_statement_with_parameters_works(client: Client):
    path = "/v1/query?p=7&p=caf%C3%A9+%26&rows=arrays&int8=string"
    sql = "select $1::int8, $2 -- café 🐘"
    reply = await client.post(path, data=sql.encode(), headers=SQL)
    assert reply.json["rows"] == [["7", "café &"]]


async def test_parameters_of_a_bare_statement_are_strings(client: Client):
    sql = b"select $1::text, $2::text, $3::text, $4::text"
    path = "/v1/query?rows=arrays&p=&p=null&p=%5B1%5D&p=%22x%22"
    reply = await client.post(path, data=sql, headers=SQL)
    assert reply.json["rows"] == [["", "null", "[1]", '"x"']]


async def test_options_of_a_bare_statement_are_checked(client: Client):
    sql = b"select 1"
    for path, words in (
        ("/v1/query?rows=tuples", 'rows must be "objects" or "arrays"'),
        ("/v1/query?timeout_ms=soon", "timeout_ms must be a whole number"),
        ("/v1/query?param=1", "unknown query parameter 'param'"),
    ):
        reply = await client.post(path, data=sql, headers=SQL)
        assert reply.status == 400
        assert words in reply.json["detail"]


async def test_a_bare_statement_may_have_a_time_limit(client: Client):
    path = "/v1/query?timeout_ms=50"
    reply = await client.post(path, data=b"select pg_sleep(10)", headers=SQL)
    assert reply.status == 504


async def test_a_bad_value_is_not_repeated_by_us(client: Client):
    """The server's own message may quote it; ours never do."""
    reply = await client.query("select 1", "top\0secret")
    assert reply.status == 400
    assert "secret" not in reply.body.decode()
    assert reply.json["executed"] == "no"
