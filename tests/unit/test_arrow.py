"""DataRow messages as an Arrow stream, read back by Arrow's own reader."""

from datetime import UTC, date, datetime, time
from decimal import Decimal

import nanoarrow as na
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.encoders.arrow import ArrowEncoder
from proxy.encoders.arrow_column import find_column
from proxy.errors import EncodingFailed
from proxy.sql.types import BUILTIN, type_by_name
from proxy.wire.messages import Field
from tests.fixtures.backend_message import data_row

NUMERIC_12_2 = (12 << 16 | 2) + 4


def field(type_name, typmod=-1, name="v"):
    return Field(name, 0, 0, type_by_name(type_name).oid, -1, typmod, 0)


def read(encoder, *batches):
    """What a reader of the stream gets: the type of the first column, and its values."""
    first = batches[0] if batches else b""
    pieces = [encoder.head(first), *map(encoder.encode, batches), encoder.end()]
    table = na.ArrayStream.from_readable(b"".join(pieces)).read_all()
    return table.schema.field(0), [row["v"] for row in table.to_pylist()]


def values(type_name, *cells, typmod=-1):
    encoder = ArrowEncoder([field(type_name, typmod)], BUILTIN)
    encoded = (cell if cell is None else cell.encode() for cell in cells)
    return read(encoder, b"".join(map(data_row, encoded)))


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
        ("numeric", -1, "1.10", "STRING", "1.10"),
        ("text", -1, "é😀", "STRING", "é😀"),
        ("jsonb", -1, '{"a": 1}', "STRING", '{"a": 1}'),
        ("uuid", -1, "a0ee", "STRING", "a0ee"),
        ("bytea", -1, "\\x00ff", "BINARY", b"\x00\xff"),
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
        ("text[]", -1, '{"a b","NULL",NULL,"q\\"\\\\"}', "LIST", ["a b", "NULL", None, 'q"\\']),
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
        ("timestamptz", -1, "12345-01-01 00:00:00+00"),
        ("time", -1, "24:00:00.1"),
        ("numeric", NUMERIC_12_2, "NaN"),
        ("numeric", (50 << 16 | 2) + 4, "1.00"),
        ("int4[]", -1, "{{1,2},{3,4}}"),
        ("int4[]", -1, "[0:1]={1,2}"),
    ],
)
def test_a_first_value_that_does_not_fit_makes_its_column_text(type_name, typmod, text):
    schema, found = values(type_name, text, typmod=typmod)
    assert (schema.type.name, found) == ("STRING", [text])


def test_a_later_value_that_does_not_fit_names_its_column_and_not_the_value():
    encoder = ArrowEncoder([field("date", name="born")], BUILTIN)
    encoder.head(data_row(b"2026-01-02"))
    with pytest.raises(EncodingFailed, match=r"'born'.*cast the column to text") as failed:
        encoder.encode(data_row(b"infinity"))
    assert "infinity" not in failed.value.detail


def test_text_that_is_not_utf8_is_refused():
    encoder = ArrowEncoder([field("text")], BUILTIN)
    encoder.head(b"")
    with pytest.raises(EncodingFailed):
        encoder.encode(data_row(b"\xff"))


def test_a_stream_without_rows_has_its_schema():
    schema, found = read(ArrowEncoder([field("int8")], BUILTIN))
    assert (schema.type.name, found) == ("INT64", [])


def test_without_its_end_a_stream_is_shorter_than_with_it():
    encoder = ArrowEncoder([field("int8")], BUILTIN)
    encoder.head(b"")
    assert encoder.end() == b"\xff\xff\xff\xff\0\0\0\0"


@given(
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), max_size=20),
    st.integers(0, 20),
)
def test_any_integers_come_back_at_any_split(numbers, split):
    cells = [data_row(None if number is None else b"%d" % number) for number in numbers]
    batches = (b"".join(cells[:split]), b"".join(cells[split:]))
    encoder = ArrowEncoder([field("int8")], BUILTIN)
    assert read(encoder, *filter(None, batches))[1] == numbers


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), max_size=20))
def test_any_text_comes_back(texts):
    cells = [None if text is None else text.replace("\0", "") for text in texts]
    assert values("text", *cells)[1] == cells


@given(st.lists(st.none() | st.datetimes(), max_size=20))
def test_any_timestamp_comes_back(moments):
    cells = [None if moment is None else moment.isoformat(" ") for moment in moments]
    assert values("timestamp", *cells)[1] == moments


@given(st.lists(st.decimals(-(10**9), 10**9, places=2), max_size=20))
def test_any_decimal_comes_back(numbers):
    """Read by hand: nanoarrow's reader takes negative ones for large ones, pyarrow's is right."""
    column = find_column(type_by_name("numeric"), NUMERIC_12_2)
    (data,), _ = column.fill([f"{number:f}".encode() for number in numbers])
    words = (data[start : start + 16] for start in range(0, len(data), 16))
    found = [int.from_bytes(word, "little", signed=True) for word in words]
    assert found == [int(number * 100) for number in numbers]
