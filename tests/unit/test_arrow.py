"""DataRow messages as an Arrow stream, read back by Arrow's own reader."""

from datetime import UTC, date, datetime, time
from decimal import Decimal

import nanoarrow as na
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.encoders.arrow import ArrowEncoder
from proxy.errors import EncodingFailed
from proxy.sql.types import BUILTIN, SqlType, type_by_name
from proxy.wire.messages import Field
from tests.fixtures.backend_message import data_row

NUMERIC_12_2 = (12 << 16 | 2) + 4
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def field(type_name, typmod=-1, name="v"):
    return Field(name, 0, 0, type_by_name(type_name).oid, -1, typmod, 0)


def open_reader(encoder, *batches):
    """Arrow's reader of the whole stream, whose schema is decided by the first batch."""
    first = batches[0] if batches else b""
    pieces = [encoder.head(first), *map(encoder.encode, batches), encoder.end()]
    return na.ArrayStream.from_readable(b"".join(pieces))


def read(encoder, *batches):
    """What a reader of the stream gets: the type of the first column, and its values."""
    table = open_reader(encoder, *batches).read_all()
    return table.schema.field(0), [row["v"] for row in table.to_pylist()]


def rows(*cells):
    return b"".join(data_row(cell if cell is None else cell.encode()) for cell in cells)


def values(type_name, *cells, typmod=-1):
    return read(ArrowEncoder([field(type_name, typmod)], BUILTIN), rows(*cells))


@pytest.mark.parametrize(
    ("type_name", "typmod", "text", "arrow", "value"),
    [
        ("bool", -1, "t", "BOOL", True),
        ("int2", -1, "-32768", "INT16", -32768),
        ("int4", -1, "7", "INT32", 7),
        ("int8", -1, "9223372036854775807", "INT64", 9223372036854775807),
        ("oid", -1, "4294967295", "UINT32", 4294967295),
        ("float8", -1, "1e-07", "DOUBLE", 1e-07),
        ("float4", -1, "Infinity", "FLOAT", float("inf")),
        ("numeric", NUMERIC_12_2, "123.45", "DECIMAL128", Decimal("123.45")),
        ("numeric", (38 << 16 | 10) + 4, "1.0000000001", "DECIMAL128", Decimal("1.0000000001")),
        ("numeric", -1, "1.10", "STRING", "1.10"),
        ("text", -1, "é😀", "STRING", "é😀"),
        ("jsonb", -1, '{"a": 1}', "STRING", '{"a": 1}'),
        ("uuid", -1, "a0ee", "STRING", "a0ee"),
        ("bytea", -1, "\\x00ff", "BINARY", b"\x00\xff"),
        ("bytea", -1, r"a\000\\", "BINARY", b"a\x00\\"),
        ("date", -1, "1969-12-31", "DATE32", date(1969, 12, 31)),
        ("time", -1, "03:04:05.000006", "TIME64", time(3, 4, 5, 6)),
        (
            "timestamp",
            -1,
            "2026-01-02 03:04:05.6",
            "TIMESTAMP",
            datetime.fromisoformat("2026-01-02T03:04:05.6"),
        ),
        (
            "timestamptz",
            -1,
            "2026-01-02 03:04:05+05:30",
            "TIMESTAMP",
            datetime(2026, 1, 1, 21, 34, 5, tzinfo=UTC),
        ),
        ("int4[]", -1, "{1,NULL,3}", "LIST", [1, None, 3]),
        ("int4[]", -1, "{}", "LIST", []),
        ("numeric[]", NUMERIC_12_2, "{1.50}", "LIST", [Decimal("1.50")]),
        ("bytea[]", -1, r'{"\\x00ff"}', "LIST", [b"\x00\xff"]),
        ("text[]", -1, '{"a b","NULL",NULL,"q\\"\\\\"}', "LIST", ["a b", "NULL", None, 'q"\\']),
        ("text[]", -1, "{a;b,(c)}", "LIST", ["a;b", "(c)"]),
        ("box[]", -1, "{(1,1),(0,0);(2,2),(1,1)}", "LIST", ["(1,1),(0,0)", "(2,2),(1,1)"]),
    ],
)
def test_a_value_has_its_arrow_type(type_name, typmod, text, arrow, value):
    schema, found = values(type_name, text, None, typmod=typmod)
    assert (schema.type.name, found) == (arrow, [value, None])


@pytest.mark.parametrize(
    ("type_name", "typmod", "text"),
    [
        ("date", -1, "infinity"),
        ("date", -1, "0044-03-15 BC"),
        ("timestamp", -1, "0044-03-15 12:00:00 BC"),
        ("timestamptz", -1, "12345-01-01 00:00:00+00"),
        ("time", -1, "24:00:00"),
        ("numeric", NUMERIC_12_2, "NaN"),
        ("numeric", NUMERIC_12_2, "10000000000.00"),
        ("numeric", NUMERIC_12_2, "1.555"),
        ("numeric", (50 << 16 | 2) + 4, "1.00"),
        ("numeric", (5 << 16 | 0x7FD) + 4, "0"),  # numeric(5, -3)
        ("int4[]", -1, "{{1,2},{3,4}}"),
        ("text[]", -1, "[0:1]={1,2}"),
        ("date[]", -1, "{infinity}"),
    ],
)
def test_a_first_value_that_does_not_fit_makes_its_column_text(type_name, typmod, text):
    schema, found = values(type_name, text, typmod=typmod)
    assert (schema.type.name, found) == ("STRING", [text])


@pytest.mark.parametrize(
    ("type_name", "typmod", "fits", "text"),
    [
        ("date", -1, b"2026-01-02", b"infinity"),
        ("numeric", NUMERIC_12_2, b"1.00", b"NaN"),
        ("timestamptz", -1, b"2026-01-02 03:04:05+00", b"-infinity"),
        ("int4[]", -1, b"{1}", b"{{1,2}}"),
    ],
)
def test_a_later_value_that_does_not_fit_names_its_column_and_not_the_value(
    type_name, typmod, fits, text
):
    encoder = ArrowEncoder([field(type_name, typmod, name="born")], BUILTIN)
    encoder.head(data_row(fits))
    with pytest.raises(EncodingFailed, match=r"'born'.*cast the column to text") as failed:
        encoder.encode(data_row(text))
    assert text.decode() not in failed.value.detail
    assert failed.value.__suppress_context__


@pytest.mark.parametrize(("type_name", "text"), [("text", b"\xff"), ("text[]", b"{\xff}")])
def test_text_that_is_not_utf8_is_refused_with_another_remedy(type_name, text):
    encoder = ArrowEncoder([field(type_name)], BUILTIN)
    encoder.head(b"")
    with pytest.raises(EncodingFailed, match="to bytea"):
        encoder.encode(data_row(text))


def test_rows_of_several_widths_are_refused():
    encoder = ArrowEncoder([field("int8")], BUILTIN)
    encoder.head(b"")
    with pytest.raises(EncodingFailed, match="can't be read"):
        encoder.encode(data_row(b"1") + data_row(b"1", b"2"))


def test_a_type_of_the_users_that_is_named_like_another_is_text():
    encoder = ArrowEncoder(
        [field("bool")._replace(type_oid=70_000)], {70_000: SqlType(70_000, "bool")}
    )
    schema, found = read(encoder, rows("maybe"))
    assert (schema.type.name, found) == ("STRING", ["maybe"])


def test_fields_carry_their_type_in_postgres():
    fields = [field("jsonb"), field("int4[]"), field("text")._replace(type_oid=70_000)]
    schema = open_reader(ArrowEncoder(fields, BUILTIN)).schema
    found = [dict(schema.field(place).metadata.items()) for place in range(3)]
    assert found == [{b"pg:type": b"jsonb"}, {b"pg:type": b"int4[]"}, {}]


def test_columns_may_have_the_same_name():
    encoder = ArrowEncoder([field("int8"), field("text")], BUILTIN)
    table = open_reader(encoder, data_row(b"1", b"x")).read_all()
    assert [table.child(place).to_pylist() for place in range(2)] == [[1], ["x"]]


def test_a_stream_without_rows_has_its_schema():
    schema, found = read(ArrowEncoder([field("int8")], BUILTIN))
    assert (schema.type.name, found) == ("INT64", [])


def test_rows_without_columns_are_counted():
    assert len(open_reader(ArrowEncoder([], BUILTIN), data_row() * 3).read_all()) == 3


def test_the_end_is_a_message_of_its_own():
    encoder = ArrowEncoder([field("int8")], BUILTIN)
    encoder.head(b"")
    assert encoder.end() == b"\xff\xff\xff\xff\0\0\0\0"


def write_array(elements):
    quoted = (
        "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for text in elements
    )
    return "{" + ",".join(quoted) + "}"


@pytest.mark.parametrize(
    ("type_name", "anything", "write"),
    [
        ("bool", st.booleans(), lambda value: "t" if value else "f"),
        ("int8", st.integers(-(2**63), 2**63 - 1), str),
        ("float8", st.floats(allow_nan=False), repr),
        ("text", TEXTS, str),
        ("bytea", st.binary(), lambda value: "\\x" + value.hex()),
        ("date", st.dates(), date.isoformat),
        ("time", st.times(), time.isoformat),
        ("timestamp", st.datetimes(), lambda value: value.isoformat(" ")),
        ("timestamptz", st.datetimes(timezones=st.just(UTC)), lambda value: value.isoformat(" ")),
        ("text[]", st.lists(st.none() | TEXTS, max_size=5), write_array),
    ],
)
def test_any_values_come_back_at_any_split(type_name, anything, write):
    @given(st.lists(st.none() | anything, max_size=20), st.integers(0, 20))
    def come_back(expected, split):
        cells = [None if value is None else write(value) for value in expected]
        batches = filter(None, (rows(*cells[:split]), rows(*cells[split:])))
        assert read(ArrowEncoder([field(type_name)], BUILTIN), *batches)[1] == expected

    come_back()


@given(
    st.lists(st.none() | st.decimals(-(10**10) + 1, 10**10 - 1, places=2), min_size=1, max_size=20)
)
def test_any_decimals_come_back(numbers):
    """From the buffer, as nanoarrow's reader takes negative ones for large ones."""
    cells = [None if number is None else f"{number:f}" for number in numbers]
    encoder = ArrowEncoder([field("numeric", NUMERIC_12_2)], BUILTIN)
    column = open_reader(encoder, rows(*cells)).read_all().child(0)
    data = bytes(column.buffers[1])
    words = (data[start : start + 16] for start in range(0, len(data), 16))
    found = [
        None if value is None else Decimal(int.from_bytes(word, "little", signed=True)) / 100
        for value, word in zip(column.to_pylist(), words, strict=True)
    ]
    assert found == numbers
