"""The rows of an answer that is held in memory, up to its limits."""

from typing import TYPE_CHECKING, Literal

from proxy.wire.messages import DATA_ROW, HEADER_BYTES, INT4

if TYPE_CHECKING:
    from collections.abc import Callable


class RowBuffer:
    """A sink that keeps DataRow messages as they come and notes when a limit is passed.

    What comes after a limit is dropped, so the statement runs to its end, unless `on_exceed` does
    something about it.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._runs: list[bytes] = []
        self._bytes = 0
        self._held_bytes = 0
        self.description: bytes | None = None
        self.row_count = 0
        self.exceeded: Literal["rows", "bytes"] | None = None
        self.on_exceed: Callable[[], None] = _do_nothing

    @property
    def held_bytes(self) -> int:
        """Size of the rows kept."""
        return self._held_bytes

    def take_messages(self) -> bytes:
        """Take the rows kept, as one run of complete messages."""
        messages = b"".join(self._runs)
        self._runs.clear()
        self._held_bytes = 0
        return messages

    def describe(self, description: bytes | None) -> None:
        """Keep the description."""
        self.description = description

    def feed_rows(self, data: bytes, start: int) -> int:
        """Keep the complete rows of this run that the limits allow."""
        position = kept = start
        size = len(data)
        while size - position >= HEADER_BYTES and data[position] == DATA_ROW:
            end = position + 1 + INT4.unpack_from(data, position + 1)[0]
            if end > size or end < position + HEADER_BYTES:
                break
            if self._take(end - position):
                kept = end
            position = end
        if kept > start:
            self._runs.append(data[start:kept])
            self._held_bytes += kept - start
        return position

    def skip_row(self) -> None:
        """A row over the message limit is over the limit of bytes, too."""
        self._exceed(self.exceeded or "bytes")

    def _take(self, row_bytes: int) -> bool:
        """Count a row in; False when it, or one before it, is over a limit."""
        if self.exceeded is not None:
            return False
        if self.row_count >= self._max_rows:
            self._exceed("rows")
            return False
        if self._bytes + row_bytes > self._max_bytes:
            self._exceed("bytes")
            return False
        self.row_count += 1
        self._bytes += row_bytes
        return True

    def _exceed(self, what: Literal["rows", "bytes"]) -> None:
        self.exceeded = what
        self.on_exceed()


def _do_nothing() -> None:
    """Let the statement run to its end."""
