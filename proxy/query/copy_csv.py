"""A body of CSV on its way into a table: passed through as it is, but for its first line."""

import csv
import re
from collections.abc import Sequence

from proxy.errors import InvalidRequest
from proxy.sql.name import quote_literal

_BOM = b"\xef\xbb\xbf"
_RECORD = re.compile(rb'(?:[^"\r\n]++|"[^"]*+")*+[\r\n]')
# A line of `\.` alone: before 18 the server takes it for the end, and passes over what follows.
_END_MARK = re.compile(rb"[\r\n]\\\.[\r\n]")
_TAIL_BYTES = 3  # of such a line that may have come with the piece before


class CsvSource:
    """Passes CSV on; `has_end_mark` says that the server would take `\\.` for the end."""

    def __init__(
        self, columns: Sequence[str], null: str, *, has_header: bool, has_end_mark: bool
    ) -> None:
        self.columns = tuple(columns)
        self.options = f"format csv, header {str(has_header).lower()}, null {quote_literal(null)}"
        self._has_end_mark = has_end_mark
        self._tail = b"\n"  # as if a line had ended

    def encode(self, piece: bytes) -> bytes:
        """Pass the next piece of the body on.

        Raises:
            InvalidRequest: the server would take a line of it for the end.
        """
        if self._has_end_mark:
            self._check_end_mark(piece)
        return piece

    def finish(self) -> bytes:
        """End the body."""
        return self.encode(b"" if self._tail.endswith(b"\n") else b"\n")

    def _check_end_mark(self, piece: bytes) -> None:
        seen = self._tail + piece
        if _END_MARK.search(seen) is not None:
            raise InvalidRequest(
                r"a line of the body is \. alone, which Postgres before 18 takes for the end of "
                'the data; put it in quotes, as "\\."'
            )
        self._tail = seen[-_TAIL_BYTES:]


def find_record_end(data: bytes) -> int:
    """Find where the first line ends, line breaks in quotes apart; 0 if it isn't all there."""
    match = _RECORD.match(data)
    return match.end() if match else 0


def read_names(record: bytes, what: str) -> tuple[str, ...]:
    """Read names of columns from a line of CSV.

    Raises:
        InvalidRequest: `what`, which begins the sentence, isn't one.
    """
    try:
        text = record.removeprefix(_BOM).decode().rstrip("\r\n")
        names = tuple(next(csv.reader([text], strict=True), ()))
    except (UnicodeDecodeError, csv.Error) as cause:
        raise InvalidRequest(f"{what} must be names of columns, as a line of CSV") from cause
    if not names:
        raise InvalidRequest(f"{what} must be names of columns, and holds none")
    return names
