"""The rows of a batch, statement by statement, up to the limits that hold for all of them."""

from typing import Literal

from proxy.query.buffer import RowBuffer


class BatchRows:
    """A sink with a buffer for each statement, which begins with its description."""

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self.buffers: list[RowBuffer] = []

    @property
    def row_count(self) -> int:
        """Rows of all statements."""
        return sum(buffer.row_count for buffer in self.buffers)

    @property
    def exceeded(self) -> Literal["rows", "bytes"] | None:
        """The first limit that was passed."""
        return next((each.exceeded for each in self.buffers if each.exceeded), None)

    def describe(self, description: bytes | None) -> None:
        """Begin the next statement."""
        held_bytes = sum(buffer.held_bytes for buffer in self.buffers)
        buffer = RowBuffer(self._max_rows - self.row_count, self._max_bytes - held_bytes)
        buffer.describe(description)
        self.buffers.append(buffer)

    def feed_rows(self, data: bytes, start: int) -> int:
        """Keep the rows of the statement under way."""
        return self.buffers[-1].feed_rows(data, start)

    def skip_row(self) -> None:
        """A row over the message limit is over the limit of bytes, too."""
        self.buffers[-1].skip_row()
