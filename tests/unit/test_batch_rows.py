"""The rows of a batch: its statements share what the answer may take."""

import pytest

from proxy.query.batch_rows import Allowance, BatchRows
from tests.fixtures.backend_message import data_row

ROW = data_row(b"1")


def fill(rows, *counts):
    """Statements with so many rows each."""
    for count in counts:
        rows.describe(b"")
        rows.feed_rows(ROW * count, 0)


def list_counts(rows):
    return [buffer.row_count for buffer in rows.buffers]


def test_statements_of_a_flight_share_the_rows():
    rows = BatchRows(Allowance(5, 1000, 1000))
    fill(rows, 2, 2, 2, 1)
    assert (list_counts(rows), rows.row_count, rows.exceeded) == ([2, 2, 1, 0], 5, "rows")
    assert [buffer.exceeded for buffer in rows.buffers] == [None, None, "rows", "rows"]


def test_statements_of_a_flight_share_the_bytes():
    rows = BatchRows(Allowance(100, 3 * len(ROW), 1000))
    fill(rows, 2, 2)
    assert (list_counts(rows), rows.exceeded) == ([2, 1], "bytes")


def test_flights_of_a_request_share_what_is_left():
    left = Allowance(3, 1000, 1000)
    first, second = BatchRows(left), BatchRows(left)
    fill(first, 2)
    fill(second, 2)
    assert (first.row_count, second.row_count, second.exceeded) == (2, 1, "rows")
    assert (left.rows, left.bytes) == (0, 1000 - 3 * len(ROW))


def test_a_flight_that_failed_leaves_its_share_to_the_others():
    left = Allowance(3, 1000, 1000)
    rows = BatchRows(left)
    fill(rows, 1, 5)
    rows.give_back()
    assert left == Allowance(3, 1000, 1000)


@pytest.mark.parametrize("pieces", [1, 3])
def test_the_first_limit_is_told_once(pieces):
    told = []
    rows = BatchRows(Allowance(1, 1000, 1000))
    rows.on_exceed = lambda: told.append(rows.exceeded)
    fill(rows, *[2] * pieces)
    rows.skip_row()
    assert told == ["rows"]


def test_a_row_over_the_message_limit_is_over_the_limit_of_bytes():
    rows = BatchRows(Allowance(1, 1000, 1000))
    rows.describe(b"")
    rows.skip_row()
    assert rows.exceeded == "bytes"
