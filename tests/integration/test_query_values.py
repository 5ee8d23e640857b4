"""Values of every type, from the server's text to JSON."""

import pytest

from tests.fixtures.service import Client, observe

FULL = {
    "id": 1,
    "a_bool": True,
    "an_int2": -32768,
    "an_int4": 2147483647,
    "an_int8": 9223372036854775807,
    "an_oid": 4294967295,
    "a_float4": 1.5,
    "a_float8": 0.1,
    "a_numeric": "12345678901234567890.123456789",
    "a_money_like": "19.90",
    "a_text": 'café 🐘 "quoted"\n\ttabbed \\',
    "a_varchar": "short",
    "a_char": "abc  ",
    "a_name": "a_name",
    "a_bytea": "AP8Q",
    "a_date": "2026-01-02",
    "a_time": "03:04:05.678",
    "a_timetz": "03:04:05+02:00",
    "a_timestamp": "2026-01-02T03:04:05.678",
    "a_timestamptz": "2026-01-02T03:04:05.678+00:00",
    "an_interval": "1 year 2 mons 3 days 04:05:06.5",
    "a_uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "a_json": {"b": 1, "a": [1.10, None]},
    "a_jsonb": {"a": {"b": [1, 2]}},
    "an_xml_like": "<x/>",
    "an_inet": "192.168.0.1/24",
    "a_cidr": "10.0.0.0/8",
    "a_macaddr": "08:00:2b:01:02:03",
    "a_bit": "1010",
    "a_varbit": "101",
    "a_point": "(1.5,-2)",
    "an_int4range": "[1,10)",
    "a_tstzrange": '["2026-01-01 00:00:00+00",)',
    "an_int4multirange": "{[1,3),[5,9)}",
    "ints": [1, None, 3],
    "nested": [[1, 2], [3, 4]],
    "texts": ["plain", "with, comma", 'with "quote"', None, "NULL", ""],
    "moods": ["sad", "happy"],
    "jsons": [{"k": 1}, None],
    "a_mood": "happy",
    "a_percentage": 42,
    "an_address": '("1, Main ""St""",)',
    "a_tsvector": "'a' 'cat' 'fat'",
}
EXTREME = {
    "id": 2,
    "a_bool": False,
    "an_int2": 0,
    "an_int4": 0,
    "an_int8": 0,
    "an_oid": 0,
    "a_float4": "NaN",
    "a_float8": "-Infinity",
    "a_numeric": "NaN",
    "a_money_like": "0.00",
    "a_text": "",
    "a_varchar": "",
    "a_char": "     ",
    "a_name": "",
    "a_bytea": "",
    "a_date": "infinity",
    "a_time": "24:00:00",
    "a_timetz": "00:00:00-12:00",
    "a_timestamp": "-infinity",
    "a_timestamptz": "0044-03-15 12:00:00+00 BC",
    "an_interval": "-1 days",
    "a_uuid": "00000000-0000-0000-0000-000000000000",
    "a_json": None,
    "a_jsonb": "text",
    "an_xml_like": "",
    "an_inet": "::1",
    "a_cidr": "::/0",
    "a_macaddr": "00:00:00:00:00:00",
    "a_bit": "0000",
    "a_varbit": "",
    "a_point": "(0,0)",
    "an_int4range": "empty",
    "a_tstzrange": "(,)",
    "an_int4multirange": "{}",
    "ints": [],
    "nested": [],
    "texts": [],
    "moods": [],
    "jsons": [],
    "a_mood": "sad",
    "a_percentage": 0,
    "an_address": '(,"")',
    "a_tsvector": "",
}

LITERALS = [
    ("'infinity'::float8", "Infinity"),
    ("'-infinity'::float4", "-Infinity"),
    ("'Infinity'::numeric", "Infinity"),
    ("1e-7::float8", 1e-07),
    ("1e300::float8", 1e300),
    ("0.1::float4", 0.1),
    ("1.10::numeric", "1.10"),
    ("date '0044-03-15 BC'", "0044-03-15 BC"),
    ("timestamp '10000-01-01'", "10000-01-01 00:00:00"),
    ("time '03:04'", "03:04:00"),
    ("timetz '03:04:05.6+05:30'", "03:04:05.6+05:30"),
    ("timestamp 'infinity'", "infinity"),
    (r"e'{\"a\":\r\n [1,\n 2]}'::json", {"a": [1, 2]}),
    ("'[1.10, 1e2]'::json", [1.10, 1e2]),
    (r"'\x'::bytea", ""),
    (r"'\xdeadbeef'::bytea", "3q2+7w=="),
    (r"array['\x00', null]::bytea[]", ["AA==", None]),
    ("array[1.50, null, 'NaN']::numeric[]", ["1.50", None, "NaN"]),
    ("array['infinity', 1]::float8[]", ["Infinity", 1]),
    ("array[true, null, false]", [True, None, False]),
    ("array[timestamp '2026-01-02 03:04:05', null]", ["2026-01-02T03:04:05", None]),
    ("array[[['a', null]], [['b', '{']]]", [[["a", None]], [["b", "{"]]]),
    ("array[]::text[]", []),
    ("'[0:1]={5,6}'::int[]", [5, 6]),
    ("array[box '((1,1),(0,0))', box '((2,2),(1,1))']", ["(1,1),(0,0)", "(2,2),(1,1)"]),
    ("array['{\"a\": [1]}', '\"x\"']::json[]", [{"a": [1]}, "x"]),
    ("row(1, 'two', null)", "(1,two,)"),
    ("int8range(1, 5)", "[1,5)"),
    ("'12.34'::money", "$12.34"),
    ("'1 day -00:00:01'::interval", "1 day -00:00:01"),
    ("'a'::\"char\"", "a"),
    ("null::int8", None),
    ("null::jsonb", None),
    ("'null'::jsonb", None),
    ("null", None),
    ("'untyped'", "untyped"),
    ("'pg_type'::regclass", "pg_type"),
    ("'1 2 3'::int2vector", "1 2 3"),
    ("'0/16B3748'::pg_lsn", "0/16B3748"),
]


async def test_every_type_has_its_form(client: Client):
    assert await client.rows("select * from every_type where id = 1") == [FULL]


async def test_extreme_values_are_told_as_they_are(client: Client):
    assert await client.rows("select * from every_type where id = 2") == [EXTREME]


async def test_nulls_are_null_in_every_type(client: Client):
    (row,) = await client.rows("select * from every_type where id = 3")
    assert row == dict.fromkeys(FULL) | {"id": 3}


@pytest.mark.parametrize(("literal", "value"), LITERALS)
async def test_a_literal_has_its_form(client: Client, literal, value):
    assert await client.value(f"select {literal}") == value


async def test_int8_keeps_every_digit_as_a_number(client: Client):
    reply = await client.query("select 9223372036854775807", rows="arrays")
    assert b'"rows":[[9223372036854775807]]' in reply.body


async def test_int8_comes_as_string_where_asked(client: Client):
    sql = "select 9223372036854775807::int8, array[1::int8, null], 1::int4"
    (row,) = await client.rows(sql, rows="arrays", int8="string")
    assert row == ["9223372036854775807", ["1", None], 1]


async def test_numeric_comes_as_number_with_every_digit_where_asked(client: Client):
    sql = "select 12345678901234567890.10, array[1.50], 'NaN'::numeric"
    reply = await client.query(sql, rows="arrays", numeric="number")
    assert b'"rows":[[12345678901234567890.10,[1.50],"NaN"]]' in reply.body


async def test_json_is_embedded_as_it_is_but_for_line_breaks(client: Client):
    reply = await client.query(r"select e'{\"b\": 1.10,\r\n\"b\":2}'::json", rows="arrays")
    assert b'"rows":[[{"b": 1.10,  "b":2}]]' in reply.body


async def test_moments_follow_the_time_zone_that_was_asked_for(client: Client):
    (row,) = await client.rows(
        "select timestamptz '2026-01-02 03:04:05+00' as here, timestamptz '1800-01-01 00:00+00'",
        rows="arrays",
        settings={"TimeZone": "Asia/Kolkata"},
    )
    assert row == ["2026-01-02T08:34:05+05:30", "1800-01-01 05:53:28+05:53:28"]


async def test_columns_say_where_they_come_from(client: Client, upstream):
    sql = "select id, a_money_like, a_varchar, a_bit, moods, a_mood from every_type"
    reply = await client.query(sql, limits={"rows": 1, "on_exceed": "truncate"})
    async with observe(upstream) as observer:
        expected = await observer.fetch(
            "select attname, atttypid, atttypmod, attrelid, attnum from pg_attribute "
            "where attrelid = 'every_type'::regclass and attname = any($1) order by attnum",
            ["id", "a_money_like", "a_varchar", "a_bit", "moods", "a_mood"],
        )
    keys = ("name", "oid", "typmod", "table_oid", "column")
    columns = [tuple(column[key] for key in keys) for column in reply.json["columns"]]
    assert columns == [tuple(row) for row in expected]


async def test_columns_name_their_types(client: Client):
    sql = "select a_money_like, a_mood, moods, a_percentage, an_address, ints, id from every_type"
    reply = await client.query(sql, limits={"rows": 1, "on_exceed": "truncate"})
    types = [column["type"] for column in reply.json["columns"]]
    assert types == ["numeric", "mood", "mood[]", "int4", "address", "int4[]", "int4"]


async def test_a_computed_column_comes_from_no_table(client: Client):
    (column,) = (await client.query("select 1 as one")).json["columns"]
    assert column == {
        "name": "one",
        "type": "int4",
        "oid": 23,
        "typmod": -1,
        "table_oid": 0,
        "column": 0,
    }


async def test_repeated_names_are_numbered_in_objects(client: Client):
    reply = await client.query("select 1 as a, 2 as a, 3 as a_2, 4 as a")
    assert reply.json["rows"] == [{"a": 1, "a_3": 2, "a_2": 3, "a_4": 4}]
    assert [column["name"] for column in reply.json["columns"]] == ["a", "a_3", "a_2", "a_4"]


async def test_repeated_names_stay_in_arrays(client: Client):
    reply = await client.query("select 1 as a, 2 as a", rows="arrays")
    assert reply.json["rows"] == [[1, 2]]
    assert [column["name"] for column in reply.json["columns"]] == ["a", "a"]


async def test_a_column_may_have_any_name(client: Client):
    assert await client.rows('select 1 as "a ""b"" \\ 🐘", 2 as "?"') == [
        {'a "b" \\ 🐘': 1, "?": 2}
    ]


@pytest.mark.parametrize(("rows", "row"), [("objects", {}), ("arrays", [])])
async def test_rows_may_have_no_columns(client: Client, rows, row):
    reply = await client.query("select", rows=rows)
    assert reply.json["columns"] == []
    assert reply.json["rows"] == [row]
    assert reply.json["row_count"] == 1
