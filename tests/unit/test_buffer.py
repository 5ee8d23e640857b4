"""The buffer of an answer, and its limits."""

import pytest

from proxy.query.buffer import RowBuffer
from tests.fixtures.backend_message import data_row, ready

ROW = data_row(b"x" * 10)


def fill(buffer, *runs):
    for run in runs:
        assert buffer.feed_rows(run, 0) == len(run)
    return buffer


def test_rows_are_kept_byte_by_byte():
    buffer = fill(RowBuffer(10, 1000), ROW * 2, ROW)
    assert buffer.take_messages() == ROW * 3
    assert (buffer.row_count, buffer.exceeded) == (3, None)


def test_description_is_kept_until_the_next_statement_has_none():
    buffer = RowBuffer(1, 1)
    buffer.describe(b"\0\0")
    assert buffer.description == b"\0\0"
    buffer.describe(None)
    assert buffer.description is None


def test_answer_may_have_exactly_as_many_rows_as_allowed():
    buffer = fill(RowBuffer(3, 1000), ROW * 3)
    assert (buffer.row_count, buffer.exceeded) == (3, None)


def test_one_row_more_is_noted_and_not_kept():
    buffer = fill(RowBuffer(3, 1000), ROW * 2, ROW * 2)
    assert (buffer.row_count, buffer.exceeded) == (3, "rows")
    assert buffer.take_messages() == ROW * 3


def test_answer_may_have_exactly_as_many_bytes_as_allowed():
    buffer = fill(RowBuffer(10, 2 * len(ROW)), ROW * 2)
    assert (buffer.row_count, buffer.exceeded) == (2, None)


def test_one_byte_more_is_noted_and_not_kept():
    buffer = fill(RowBuffer(10, 2 * len(ROW) - 1), ROW * 2)
    assert (buffer.row_count, buffer.exceeded) == (1, "bytes")
    assert buffer.take_messages() == ROW


def test_nothing_is_kept_after_a_limit_even_if_it_would_fit():
    small = data_row(b"")
    buffer = fill(RowBuffer(10, len(ROW) + len(small)), ROW, ROW + small, small)
    assert buffer.take_messages() == ROW


def test_first_limit_is_the_one_that_is_told():
    buffer = fill(RowBuffer(1, 1000), ROW * 2)
    buffer.skip_row()
    assert buffer.exceeded == "rows"


def test_row_over_the_message_limit_is_over_the_limit_of_bytes():
    buffer = RowBuffer(1, 1000)
    buffer.skip_row()
    assert fill(buffer, ROW).take_messages() == b""
    assert buffer.exceeded == "bytes"


@pytest.mark.parametrize("rest", [ready(), ROW[:-1], ROW[:3], b""])
def test_run_ends_with_its_last_complete_row(rest):
    buffer = RowBuffer(10, 1000)
    assert buffer.feed_rows(ready() + ROW + rest, len(ready())) == len(ready() + ROW)
    assert buffer.take_messages() == ROW
