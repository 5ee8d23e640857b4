"""The rows of a batch, statement by statement, up to the limits that hold for all of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from proxy.query.buffer import RowBuffer

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(slots=True)
class Allowance:
    """What an answer may still take, over all of its statements."""

    rows: int
    bytes: int  # of the server's messages
    body_bytes: int  # of JSON


class BatchRows:
    """A sink with a buffer for each statement of a flight, which begins with its description.

    Like a RowBuffer it drops what comes after a limit, and tells `on_exceed` of the first one.
    """

    def __init__(self, left: Allowance) -> None:
        self._left = left
        self._bytes = 0
        self.row_count = 0
        self.buffers: list[RowBuffer] = []
        self.exceeded: Literal["rows", "bytes"] | None = None
        self.on_exceed: Callable[[], None] = _do_nothing

    def describe(self, description: bytes | None) -> None:
        """Begin the next statement."""
        buffer = RowBuffer(0, 0)
        buffer.describe(description)
        self.buffers.append(buffer)

    def feed_rows(self, data: bytes, start: int) -> int:
        """Keep the rows of the statement under way."""
        buffer, left = self.buffers[-1], self._left
        rows, held_bytes = buffer.row_count, buffer.held_bytes
        buffer.allow(left.rows, left.bytes)
        end = buffer.feed_rows(data, start)
        self._take(buffer.row_count - rows, buffer.held_bytes - held_bytes)
        self._note_limit(buffer)
        return end

    def skip_row(self) -> None:
        """A row over the message limit is over the limit of bytes, too."""
        self.buffers[-1].skip_row()
        self._note_limit(self.buffers[-1])

    def give_back(self) -> None:
        """Leave to other statements what this flight has taken; its rows are in no answer."""
        self._take(-self.row_count, -self._bytes)

    def _take(self, rows: int, held_bytes: int) -> None:
        self.row_count += rows
        self._bytes += held_bytes
        self._left.rows -= rows
        self._left.bytes -= held_bytes

    def _note_limit(self, buffer: RowBuffer) -> None:
        if buffer.exceeded is not None and self.exceeded is None:
            self.exceeded = buffer.exceeded
            self.on_exceed()


def _do_nothing() -> None:
    """Let the statements run to their end."""
