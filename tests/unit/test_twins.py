"""The compiled rows and their twin in Python give the same bytes, whatever comes."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.encoders import _rows, rows
from proxy.encoders.kind import Cell, Kind
from tests.fixtures.backend_message import data_row

SCALARS = tuple(kind for kind in Kind if kind is not Kind.ARRAY)
SPECIAL = st.sampled_from(
    (
        b"2026-01-02 03:04:05.678+00",
        b"03:04:05-07",
        b"infinity",
        b"NaN",
        b"\\x00ff",
        b"\\\\\\001a",
        b'{"a":\r\n1}',
        b'{1,NULL,"a\\"b"}',
        b"[0:1]={a,b}",
        "é😀\u2028".encode(),
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xc0\xaf",
        b"t",
        b"\\.",
        b"",
    )
)
VALUES = st.one_of(
    SPECIAL,
    st.binary(max_size=40),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")),
    st.text('{}",;\\ NULab[]=0:\n', max_size=20).map(str.encode),
    st.text("0123456789-:. +T", max_size=30).map(str.encode),
)
CELLS = st.one_of(
    st.sampled_from(SCALARS).map(Cell),
    st.builds(Cell, st.just(Kind.ARRAY), st.sampled_from(SCALARS), st.sampled_from(",;")),
)
COLUMNS = st.lists(st.tuples(CELLS, st.none() | VALUES), max_size=5)
CSV_KINDS = (Kind.TEXT, Kind.BOOL, Kind.MOMENT)


def stitch(module, messages, cells, **options):
    """The bytes, or the class of what is raised instead."""
    prefixes = tuple(b"%d:" % place for place in range(len(cells)))
    members = {"closing": b"\n", "null": b"null", "is_csv": False, **options}
    try:
        return module.Stitcher(prefixes, tuple(cells), **members).stitch(messages)
    except ValueError as error:
        return UnicodeDecodeError if isinstance(error, UnicodeDecodeError) else ValueError


@given(COLUMNS, st.integers(0, 3))
def test_any_values_of_any_kinds_become_the_same_json(columns, count):
    cells = [cell for cell, _ in columns]
    messages = data_row(*(value for _, value in columns)) * count
    assert stitch(_rows, messages, cells) == stitch(rows, messages, cells)


@given(
    st.lists(st.tuples(st.sampled_from(CSV_KINDS), st.none() | VALUES), max_size=5),
    st.sampled_from((b"", b"NULL", b"a", b"true", b"03:04:05-07:00")),
)
def test_any_values_become_the_same_csv(columns, null):
    cells = [Cell(kind) for kind, _ in columns]
    messages = data_row(*(value for _, value in columns))
    options = {"null": null, "is_csv": True}
    assert stitch(_rows, messages, cells, **options) == stitch(rows, messages, cells, **options)


@given(COLUMNS, st.data())
def test_a_damaged_message_is_refused_by_both(columns, data):
    cells = [cell for cell, _ in columns]
    message = bytearray(data_row(*(value for _, value in columns)))
    place = data.draw(st.integers(0, len(message) - 1))
    message[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(message)))
    for damaged in (bytes(message), bytes(message[:cut])):
        assert stitch(_rows, damaged, cells) == stitch(rows, damaged, cells)


@pytest.mark.parametrize("module", [_rows, rows])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"\0\1",
        b"\0\1\0\0\0",
        b"\0\1\0\0\0\2x",
        b"\0\1\x7f\xff\xff\xffx",
        b"\0\1\xff\xff\xff\xfe",
        b"\0\1\0\0\0\1xy",
        b"\0\2\0\0\0\1x\0\0\0\1y",
    ],
)
def test_a_length_is_held_against_the_message(module, body):
    message = b"D" + struct.pack("!i", 4 + len(body)) + body
    assert stitch(module, message, [Cell(Kind.TEXT)]) is ValueError


@given(
    st.lists(st.binary(max_size=9), max_size=6),
    st.binary(max_size=9),
    st.integers(0, 7),
    st.integers(0, 99),
)
def test_any_split_of_a_run_is_scanned_alike(values, rest, max_rows, max_bytes):
    run = b"".join(data_row(value) for value in values)
    for data in (run + rest, run[: len(run) // 2]):
        limits = (min(3, len(data)), max_rows, max_bytes)
        assert _rows.scan_rows(data, *limits) == rows.scan_rows(data, *limits)
        assert _rows.scan_rows(data, 0, max_rows, max_bytes) == rows.scan_rows(
            data, 0, max_rows, max_bytes
        )


def test_text_longer_than_a_piece_is_escaped_as_a_whole():
    long = b'\n"' * 20_000 + b"\x01" * 20_000
    cells = [Cell(Kind.TEXT)]
    assert stitch(_rows, data_row(long), cells) == stitch(rows, data_row(long), cells)
