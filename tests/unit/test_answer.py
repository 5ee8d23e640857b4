"""What a flight's messages make of its answer."""

import pytest

from proxy.wire.answer import HANDLERS, MAX_NOTICES, Answer, Discard
from proxy.wire.framing import Framing
from proxy.wire.rowset import RowSet
from tests.fixtures.backend_message import data_row, error, fields_message, message

TAGS = [message("C", tag) for tag in (b"INSERT 0 1\0", b"UPDATE 2\0", b"DELETE 3\0")]
PREFIX_DONE = message("1") + message("2") + message("C", b"SELECT 0\0")


def read(stream, prefixes=0, sink=None, more=0):
    """The answer after a stream of complete messages."""
    answer = Answer(sink or Discard(), prefixes, more=more)
    Framing(lambda kind, whole: HANDLERS[kind](answer, whole), 2**20).feed(stream, answer.sink)
    return answer


def test_an_answer_begins_as_a_success_without_a_tag():
    answer = read(b"")
    assert (answer.error, answer.tag, answer.notices) == (None, None, [])


def test_tag_is_the_statements_own():
    assert read(PREFIX_DONE + message("C", b"SELECT 1\0"), prefixes=1).tag == b"SELECT 1\0"


def test_tag_behind_a_suspended_statement_is_that_of_its_commit():
    answer = read(message("s") + PREFIX_DONE)
    assert (answer.tag, answer.is_suspended) == (None, True)
    assert answer.end_tag is not None


def test_error_behind_a_suspended_statement_is_one_of_its_commit():
    assert read(message("s") + error("ERROR", "23505", "twice")).is_commit_error


def test_tags_of_all_prefixes_are_passed_over():
    answer = read(PREFIX_DONE * 3, prefixes=3)
    assert (answer.tag, answer.prefixes) == (None, 0)


def test_tags_of_a_batch_are_kept_beside_the_last_one():
    answer = read(PREFIX_DONE + b"".join(TAGS) + PREFIX_DONE, prefixes=1, more=2)
    assert (answer.tags, answer.tag) == ([b"INSERT 0 1\0", b"UPDATE 2\0"], b"DELETE 3\0")
    assert (answer.end_tag, answer.is_over) == (b"SELECT 0\0", True)


def test_error_between_the_statements_of_a_batch_is_none_of_its_commit():
    answer = read(TAGS[0] + error("ERROR", "22P02", "bad"), more=2)
    assert (len(answer.tags), answer.is_commit_error) == (1, False)


def test_error_behind_the_last_statement_of_a_batch_is_one_of_its_commit():
    assert read(b"".join(TAGS) + error("ERROR", "23505", "twice"), more=2).is_commit_error


def test_rows_and_their_description_go_to_the_sink():
    description = message("T", b"\0\1id\0" + bytes(18))
    rows = RowSet()
    read(description + data_row(b"1") + data_row(b"2"), sink=rows)
    assert rows.fields[0].name == "id"
    assert rows.rows == [(b"1",), (b"2",)]


def test_sink_is_told_when_there_are_no_rows():
    class Witness(Discard):
        described = "never"

        def describe(self, description):
            self.described = description

    witness = Witness()
    read(message("n"), sink=witness)
    assert witness.described is None


def test_first_error_counts():
    answer = read(error("ERROR", "22P02", "first") + error("ERROR", "25P02", "second"))
    assert answer.error.message == "first"


@pytest.mark.parametrize("severity", ["FATAL", "PANIC"])
def test_error_that_ends_the_connection_counts_more(severity):
    answer = read(error("ERROR", "22P02", "first") + error(severity, "57P01", "last"))
    assert answer.error.message == "last"


def test_error_in_a_prefix_is_told_apart():
    assert read(error("ERROR", "22023", "no such zone"), prefixes=1).is_prefix_error


def test_error_after_the_prefixes_is_the_statements():
    answer = read(PREFIX_DONE + error("ERROR", "22P02", "bad"), prefixes=1)
    assert not answer.is_prefix_error


def test_error_after_the_tag_is_kept_beside_it():
    late = read(message("C", b"INSERT 0 1\0") + error("ERROR", "23505", "deferred"))
    assert (late.tag, late.error.sqlstate) == (b"INSERT 0 1\0", "23505")


def test_no_more_notices_are_kept_than_anybody_would_read():
    notices = (fields_message("N", S="NOTICE", M=str(number)) for number in range(1000))
    answer = read(b"".join(notices))
    assert [notice.message for notice in answer.notices] == [str(n) for n in range(MAX_NOTICES)]


@pytest.mark.parametrize(
    ("stream", "member", "expected"),
    [
        (message("I"), "is_empty", True),
        (message("s"), "is_suspended", True),
        (message("H", b"\0\0\0"), "copy", "out"),
    ],
)
def test_special_endings_are_noted(stream, member, expected):
    assert getattr(read(stream), member) == expected
    assert getattr(read(b""), member) != expected


def test_data_of_a_copy_is_dropped():
    sink = RowSet()
    answer = read(message("d", b"1\n") + message("c") + message("C", b"COPY 1\0"), sink=sink)
    assert (answer.tag, sink.rows) == (b"COPY 1\0", [])


def test_discarding_sink_passes_over_what_it_is_told():
    answer = read(message("T", b"\0\0") + message("n") + data_row(b"1"))
    answer.sink.skip_row()
    assert answer == Answer(answer.sink)
