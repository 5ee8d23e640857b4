"""The rows of an answer that is held in memory, up to its limits."""

from typing import TYPE_CHECKING, Literal

from proxy.encoders.stitcher import scan_rows

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
        self.held_bytes = 0
        self.description: bytes | None = None
        self.row_count = 0
        self.exceeded: Literal["rows", "bytes"] | None = None
        self.on_exceed: Callable[[], None] = _do_nothing

    def allow(self, rows: int, more_bytes: int) -> None:
        """Change the limits: take so much more than what has been kept."""
        self._max_rows = self.row_count + rows
        self._max_bytes = self._bytes + more_bytes

    def take_messages(self) -> bytes:
        """Take the rows kept, as one run of complete messages."""
        messages = b"".join(self._runs)
        self._runs.clear()
        self.held_bytes = 0
        return messages

    def describe(self, description: bytes | None) -> None:
        """Keep the description."""
        self.description = description

    def feed_rows(self, data: bytes, start: int) -> int:
        """Keep the complete rows of this run that the limits allow."""
        if self.exceeded is not None:
            return scan_rows(data, start, 0, 0)[0]
        max_rows, max_bytes = self._max_rows - self.row_count, self._max_bytes - self._bytes
        end, kept, rows = scan_rows(data, start, max_rows, max_bytes)
        if rows:
            self._runs.append(data[start:kept])
            self.held_bytes += kept - start
            self._bytes += kept - start
            self.row_count += rows
        if kept < end:
            self._exceed("rows" if rows >= max_rows else "bytes")
        return end

    def skip_row(self) -> None:
        """A row over the message limit is over the limit of bytes, too."""
        self._exceed(self.exceeded or "bytes")

    def _exceed(self, what: Literal["rows", "bytes"]) -> None:
        self.exceeded = what
        self.on_exceed()


def _do_nothing() -> None:
    """Let the statement run to its end."""
