"""Framing: the same messages in the same order at any split of the stream, in bounded memory."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.query.buffer import RowBuffer
from proxy.wire.answer import Discard
from proxy.wire.framing import Framing, ProtocolViolation
from proxy.wire.messages import HEADER_BYTES
from proxy.wire.rowset import RowSet
from tests.fixtures.backend_message import data_row, message, ready

MAX_BYTES = 1000
ROWS = st.builds(data_row, st.none() | st.binary(max_size=40))
OTHERS = st.builds(message, st.sampled_from("TCNEAZ1"), st.binary(max_size=40))


class Reader:
    """Notes everything that a framing hands on, and looks over its shoulder at each piece."""

    def __init__(self, max_message_bytes=MAX_BYTES):
        self.framing = Framing(self.handle, max_message_bytes)
        self.messages = []
        self.skipped_rows = 0
        self.scans = 0
        self.most_buffered_bytes = 0

    def feed(self, *pieces):
        for piece in pieces:
            self.framing.feed(piece, self)
            self.most_buffered_bytes = max(self.most_buffered_bytes, self.framing.buffered_bytes)

    def handle(self, kind, whole):
        assert whole[0] == kind
        self.messages.append(whole)

    def describe(self, _description):
        raise AssertionError("descriptions are the handler's business")

    def feed_rows(self, data, start):
        self.scans += 1
        end = Discard().feed_rows(data, start)
        while start < end:
            (length,) = struct.unpack_from("!i", data, start + 1)
            self.messages.append(data[start : start + 1 + length])
            start += 1 + length
        return end

    def skip_row(self):
        self.skipped_rows += 1


def cut(stream, size):
    return [stream[start : start + size] for start in range(0, len(stream), size)]


@given(st.lists(ROWS | OTHERS, max_size=20), st.data())
def test_any_split_yields_the_same_messages(sent, data):
    stream = b"".join(sent)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
    reader = Reader()
    reader.feed(*(stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)))
    assert reader.messages == sent
    assert reader.framing.buffered_bytes == 0


@given(st.lists(ROWS | OTHERS, max_size=8))
def test_byte_by_byte_yields_the_same_messages(sent):
    reader = Reader()
    reader.feed(*cut(b"".join(sent), 1))
    assert reader.messages == sent


@given(st.integers(1, 2000), st.lists(ROWS | OTHERS, max_size=4))
def test_row_over_the_limit_is_dropped_and_the_rest_arrives(piece_bytes, others):
    reader = Reader()
    stream = b"".join([ready(), data_row(b"x" * 10_000), *others])
    reader.feed(*cut(stream, piece_bytes))
    assert reader.messages == [ready(), *others]
    assert reader.skipped_rows == 1


def test_row_over_the_limit_is_refused_on_its_header():
    reader = Reader()
    reader.feed(*cut(data_row(b"x" * 10_000)[: HEADER_BYTES + 95], 100))
    assert reader.skipped_rows == 1
    assert reader.framing.buffered_bytes == 0


def test_no_more_than_the_header_of_a_row_over_the_limit_is_buffered():
    reader = Reader()
    reader.feed(*cut(data_row(b"x" * 10_000), 3))
    assert reader.most_buffered_bytes < HEADER_BYTES


def test_row_at_the_limit_is_taken():
    reader = Reader(max_message_bytes=len(data_row(b"x" * 500)) - 1)
    reader.feed(*cut(data_row(b"x" * 500) + data_row(b"x" * 501), 100))
    assert reader.messages == [data_row(b"x" * 500)]
    assert reader.skipped_rows == 1


def test_incomplete_message_is_buffered_once():
    reader = Reader()
    reader.feed(ready(), data_row(b"x" * 90)[:60])
    assert reader.framing.buffered_bytes == 60


def test_large_row_is_joined_once_however_small_the_pieces():
    reader = Reader(max_message_bytes=2**24)
    row = data_row(b"x" * 2**23)
    reader.feed(*cut(row, 1024))
    assert reader.messages == [row]
    assert reader.scans == 2  # at its header, and when it is complete


@pytest.mark.parametrize("length", [-(2**31), -5, -1, 0, 3])
@pytest.mark.parametrize("kind", [b"D", b"E"])
@pytest.mark.parametrize("before", [b"", data_row(b"1")])
@pytest.mark.parametrize("sink", [Discard(), RowSet(), RowBuffer(10, 1000)])
def test_length_that_excludes_itself_is_no_postgres(length, kind, before, sink):
    framing = Framing(lambda *_: None, MAX_BYTES)
    with pytest.raises(ProtocolViolation, match=f"length {length}"):
        framing.feed(before + kind + struct.pack("!i", length) + ready() * 2, sink)


def test_message_over_the_limit_that_is_no_row_ends_the_connection():
    reader = Reader()
    with pytest.raises(ProtocolViolation, match=r"type b'E' and 1001 bytes"):
        reader.feed(b"E" + struct.pack("!i", MAX_BYTES + 1))
