"""Small answers as rows of cells."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.messages import Field
from proxy.wire.rowset import RowSet, parse_data_row
from tests.fixtures.backend_message import data_row, ready

HEADER = 5


@given(st.lists(st.none() | st.binary(), max_size=8))
def test_cells_come_back_as_they_were_sent(cells):
    assert parse_data_row(data_row(*cells)[HEADER:]) == tuple(cells)


def test_rows_are_kept_in_order():
    rows = RowSet()
    stream = data_row(b"1", None) + data_row(b"2", b"")
    assert rows.feed_rows(stream, 0) == len(stream)
    assert rows.rows == [(b"1", None), (b"2", b"")]


def test_run_ends_where_another_message_begins():
    rows = RowSet()
    stream = ready() + data_row(b"1") + ready()
    assert rows.feed_rows(stream, len(ready())) == len(stream) - len(ready())
    assert rows.rows == [(b"1",)]


def test_incomplete_row_is_left_to_the_next_piece():
    rows = RowSet()
    stream = data_row(b"1") + data_row(b"22")[:-1]
    assert rows.feed_rows(stream, 0) == len(data_row(b"1"))
    assert rows.rows == [(b"1",)]


def test_columns_are_kept():
    rows = RowSet()
    rows.describe(b"\0\1id\0" + struct.pack("!IhIhih", 16400, 1, 23, 4, -1, 0))
    assert rows.fields == (Field("id", 16400, 1, 23, 4, -1, 0),)


def test_statement_without_rows_has_no_columns():
    rows = RowSet()
    rows.describe(None)
    assert rows.fields == ()


def test_row_too_large_to_be_an_answer_of_ours_is_missing():
    rows = RowSet()
    rows.skip_row()
    assert rows.rows == []
