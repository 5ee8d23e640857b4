"""Bytes in, complete messages out, at any split of the stream."""

from collections.abc import Callable

from proxy.wire.answer import RowSink
from proxy.wire.messages import DATA_ROW, HEADER_BYTES, INT4

_LENGTH_BYTES = 4


class ProtocolViolation(Exception):
    """The peer doesn't speak the protocol, or sends more than we take."""


class Framing:
    """Splits the server's byte stream.

    Runs of DataRows go to `sink` in one piece, every other message to `handle(kind, message)`.
    A row over `max_message_bytes` is refused on its header, before it is buffered: its bytes are
    dropped as they come and the sink is told.
    """

    def __init__(self, handle: Callable[[int, bytes], None], max_message_bytes: int) -> None:
        self._handle = handle
        self._max_message_bytes = max_message_bytes
        self._partial: list[bytes] = []
        self._partial_bytes = 0
        self._needed_bytes = 0
        self._skip_bytes = 0

    @property
    def buffered_bytes(self) -> int:
        """Size of the incomplete message."""
        return self._partial_bytes

    def feed(self, data: bytes, sink: RowSink) -> None:
        """Take the next piece of the stream.

        Raises:
            ProtocolViolation: the stream can't be followed any more.
        """
        if self._skip_bytes:
            skipped = min(self._skip_bytes, len(data))
            self._skip_bytes -= skipped
            data = data[skipped:]
        if self._partial_bytes:
            self._partial.append(data)
            self._partial_bytes += len(data)
            if self._partial_bytes < self._needed_bytes:
                return
            data = b"".join(self._partial)
            self._partial.clear()
            self._partial_bytes = 0
        end = self._split(data, sink)
        if end < len(data):
            self._keep(data[end:], sink)

    def _split(self, data: bytes, sink: RowSink) -> int:
        """Hand on the complete messages; returns where the first incomplete one starts."""
        position, size = 0, len(data)
        while size - position >= HEADER_BYTES:
            kind = data[position]
            if kind == DATA_ROW:
                end = sink.feed_rows(data, position)
                if end == position:
                    break
            else:
                end = position + 1 + INT4.unpack_from(data, position + 1)[0]
                if end > size or end < position + HEADER_BYTES:
                    break
                self._handle(kind, data[position:end])
            position = end
        return position

    def _keep(self, rest: bytes, sink: RowSink) -> None:
        """Keep the beginning of a message, after a look at its header."""
        self._needed_bytes = HEADER_BYTES
        if len(rest) >= HEADER_BYTES:
            length = INT4.unpack_from(rest, 1)[0]
            self._needed_bytes = 1 + length
            if length < _LENGTH_BYTES:
                raise ProtocolViolation(f"a message of length {length}")
            if length > self._max_message_bytes:
                self._refuse(rest, length, sink)
                return
        self._partial.append(rest)
        self._partial_bytes = len(rest)

    def _refuse(self, rest: bytes, length: int, sink: RowSink) -> None:
        if rest[0] != DATA_ROW:
            raise ProtocolViolation(f"a message of type {rest[:1]!r} and {length} bytes")
        sink.skip_row()
        self._skip_bytes = 1 + length - len(rest)
