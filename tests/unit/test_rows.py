"""DataRow messages as rows of JSON."""

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.encoders import _rows, row_encoder, rows
from proxy.encoders.row_encoder import Column, RowEncoder, RowShape
from proxy.errors import EncodingFailed
from proxy.sql.types import BUILTIN, type_by_name
from proxy.wire.messages import Field
from tests.fixtures.backend_message import data_row


def field(name, type_oid=25):
    return Field(name, 16400, 1, type_oid, -1, -1, 0)


def encode_cell(type_name, text, **shape):
    kind = type_by_name(type_name)
    encoder = RowEncoder([field("v", kind.oid)], BUILTIN, RowShape(rows="arrays", **shape))
    return encoder.encode(data_row(text.encode() if isinstance(text, str) else text))[1:-1]


@pytest.fixture(scope="module", params=[_rows.Stitcher, rows.Stitcher], autouse=True)
def implementation(request):
    """Both twins, one after the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_encoder, "Stitcher", request.param)
        yield request.param


@pytest.mark.parametrize(
    ("type_name", "text", "expected"),
    [
        ("bool", "t", "true"),
        ("bool", "f", "false"),
        ("int2", "-32768", "-32768"),
        ("int4", "1", "1"),
        ("int8", "9223372036854775807", "9223372036854775807"),
        ("oid", "4294967295", "4294967295"),
        ("float4", "1e+20", "1e+20"),
        ("float8", "1e-07", "1e-07"),
        ("float8", "-0", "-0"),
        ("float8", "NaN", '"NaN"'),
        ("float4", "Infinity", '"Infinity"'),
        ("float8", "-Infinity", '"-Infinity"'),
        ("numeric", "1.10", '"1.10"'),
        ("numeric", "NaN", '"NaN"'),
        ("text", "", '""'),
        ("text", 'a"b\\c\n\x01é', '"a\\"b\\\\c\\n\\u0001é"'),
        ("uuid", "a0ee", '"a0ee"'),
        ("money", "$1.50", '"$1.50"'),
        ("xid8", "5", '"5"'),
        ("int2vector", "1 2", '"1 2"'),
        ("record", '(1,"a b")', '"(1,\\"a b\\")"'),
        ("json", '{"a"\r\n:\t"\\n"}\n', '{"a"  :\t"\\n"} '),
        ("jsonb", '{"a": 1.10}', '{"a": 1.10}'),
        ("jsonb", "null", "null"),
        ("bytea", "\\x", '""'),
        ("bytea", "\\x00ff61", '"AP9h"'),
        ("bytea", "\\\\\\000\\377ab'\\\\x", '"XAD/YWInXHg="'),
        ("date", "2026-01-02", '"2026-01-02"'),
        ("date", "0044-03-15 BC", '"0044-03-15 BC"'),
        ("date", "infinity", '"infinity"'),
        ("time", "24:00:00", '"24:00:00"'),
        ("timetz", "03:04:05.6+05:30", '"03:04:05.6+05:30"'),
        ("timetz", "03:04:05-07", '"03:04:05-07:00"'),
        ("timestamp", "2026-01-02 03:04:05.678", '"2026-01-02T03:04:05.678"'),
        ("timestamp", "2026-01-02 03:04:05", '"2026-01-02T03:04:05"'),
        ("timestamp", "-infinity", '"-infinity"'),
        ("timestamp", "0044-03-15 01:02:03 BC", '"0044-03-15 01:02:03 BC"'),
        ("timestamp", "12345-01-01 00:00:00", '"12345-01-01 00:00:00"'),
        ("timestamptz", "2026-01-02 03:04:05.678+00", '"2026-01-02T03:04:05.678+00:00"'),
        ("timestamptz", "2026-01-02 03:04:05+05:30", '"2026-01-02T03:04:05+05:30"'),
        ("timestamptz", "1800-01-01 00:09:21+00:09:21", '"1800-01-01 00:09:21+00:09:21"'),
        ("timestamptz", "Fri Jan 02 03:04:05 2026 UTC", '"Fri Jan 02 03:04:05 2026 UTC"'),
        ("interval", "1 day", '"1 day"'),
        ("int4[]", "{}", "[]"),
        ("int8[]", "[0:1]={1,NULL}", "[1,null]"),
        ("bool[]", "{{t,f},{NULL,t}}", "[[true,false],[null,true]]"),
        ("numeric[]", "{1.10,NaN}", '["1.10","NaN"]'),
        ("text[]", '{"a b","NULL",NULL}', '["a b","NULL",null]'),
        ("jsonb[]", '{"{\\"a\\": \\"x,y\\"}",NULL}', '[{"a": "x,y"},null]'),
        ("bytea[]", '{"\\\\x00ff"}', '["AP8="]'),
        ("timestamptz[]", '{"2026-01-02 03:04:05+00"}', '["2026-01-02T03:04:05+00:00"]'),
        ("box[]", "{(1,1),(0,0);(3,3),(2,2)}", '["(1,1),(0,0)","(3,3),(2,2)"]'),
        ("int4multirange", "{[1,3),[5,9)}", '"{[1,3),[5,9)}"'),
    ],
)
def test_a_value_is_encoded_by_its_type(type_name, text, expected):
    assert encode_cell(type_name, text) == expected.encode()


@pytest.mark.parametrize(
    ("type_name", "text", "expected"),
    [("int8", "1", '"1"'), ("int8[]", "{1,NULL}", '["1",null]'), ("int4", "1", "1")],
)
def test_int8_travels_as_string_when_asked(type_name, text, expected):
    assert encode_cell(type_name, text, int8="string") == expected.encode()


@pytest.mark.parametrize(
    ("text", "expected"), [("1.10", "1.10"), ("NaN", '"NaN"'), ("-Infinity", '"-Infinity"')]
)
def test_numeric_travels_as_number_when_asked(text, expected):
    assert encode_cell("numeric", text, numeric="number") == expected.encode()


def test_a_type_outside_the_table_is_text_under_its_oid():
    encoder = RowEncoder([field("mood", 99999)], BUILTIN, RowShape())
    assert encoder.encode(data_row(b"{1}")) == b'{"mood":"{1}"}'
    assert encoder.columns == (Column("mood", "99999", 99999, -1, 16400, 1),)


def test_every_row_has_what_is_wanted_around_it():
    shape = RowShape(before=b'{"row":', after=b"}\n")
    encoder = RowEncoder([field("a", 23), field("b")], BUILTIN, shape)
    lines = encoder.encode(data_row(b"1", None) + data_row(None, b""))
    assert lines == b'{"row":{"a":1,"b":null}}\n{"row":{"a":null,"b":""}}\n'


def test_rows_are_arrays_when_asked():
    encoder = RowEncoder([field("a", 23), field("a")], BUILTIN, RowShape(rows="arrays"))
    assert encoder.encode(data_row(b"1", None)) == b"[1,null]"
    assert [column.name for column in encoder.columns] == ["a", "a"]


def test_no_messages_are_no_rows():
    assert RowEncoder([field("a")], BUILTIN, RowShape()).encode(b"") == b""


@pytest.mark.parametrize(("rows", "expected"), [("objects", b"{},{},"), ("arrays", b"[],[],")])
def test_rows_without_columns_are_empty(rows, expected):
    encoder = RowEncoder([], BUILTIN, RowShape(rows=rows, after=b","))
    assert encoder.encode(data_row() * 2) == expected


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "a", "a"], ["a", "a_2", "a_3"]),
        (["a", "a", "a_2"], ["a", "a_3", "a_2"]),
        (["a_2", "a", "a", "a_2"], ["a_2", "a", "a_3", "a_2_2"]),
        (["a_2", "a_2", "a_2_2", "a", "a"], ["a_2", "a_2_3", "a_2_2", "a", "a_3"]),
    ],
)
def test_repeated_names_are_numbered_without_colliding(names, expected):
    encoder = RowEncoder([field(name) for name in names], BUILTIN, RowShape())
    assert [column.name for column in encoder.columns] == expected


@pytest.mark.parametrize("type_name", ["text", "jsonb", "text[]", "timestamptz"])
def test_text_that_is_not_utf8_is_refused(type_name):
    with pytest.raises(EncodingFailed, match="not UTF-8"):
        encode_cell(type_name, b'{"\xff"}')


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.lists(st.lists(st.none() | TEXT, min_size=3, max_size=3)), st.lists(TEXT, min_size=3))
def test_any_text_under_any_names_comes_back(rows, names):
    shape = RowShape(before=b",")
    encoder = RowEncoder([field(name) for name in names[:3]], BUILTIN, shape)
    messages = b"".join(
        data_row(*(cell if cell is None else cell.encode() for cell in row)) for row in rows
    )
    keys = [column.name for column in encoder.columns]
    assert len(set(keys)) == 3
    answer = orjson.loads(b"[" + encoder.encode(messages)[1:] + b"]")
    assert answer == [dict(zip(keys, row, strict=True)) for row in rows]


@given(st.binary(), st.booleans())
def test_any_bytes_come_back(data, hexadecimal):
    escaped = b"".join(b"\\\\" if byte == 92 else b"\\%03o" % byte for byte in data)
    cell = b"\\x" + data.hex().encode() if hexadecimal else escaped
    assert base64.b64decode(orjson.loads(encode_cell("bytea", cell))) == data


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_any_numeric_keeps_its_digits(number):
    text = format(number, "f")
    assert encode_cell("numeric", text, numeric="number") == text.encode()
    assert orjson.loads(encode_cell("numeric", text)) == text
