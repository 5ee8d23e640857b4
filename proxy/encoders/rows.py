"""DataRow messages to JSON and CSV in pure Python: the readable twin of `_rows.pyx`."""

import re
from collections.abc import Callable, Sequence

from proxy.encoders.cell import cell_encoder, encode_bool, iso_moment
from proxy.encoders.kind import Cell, Kind
from proxy.wire.messages import DATA_ROW, HEADER_BYTES, INT2, INT4

_CSV_SPECIAL = re.compile(rb'[",\r\n]|^\s|\s\Z|^\\\.\Z')  # COPY before 17 takes \. for the end
_MALFORMED = "a malformed DataRow"
_NULL_SIZE = -1


def scan_rows(data: bytes, start: int, max_rows: int, max_bytes: int) -> tuple[int, int, int]:
    """Walk the run of complete DataRow messages at `start`.

    Returns where the run ends, where those of its rows end that the limits allow, and their number.
    """
    position, kept, rows = start, start, 0
    is_open = True
    while (end := _message_end(data, position)) > 0:
        if is_open and rows < max_rows and end - start <= max_bytes:
            rows += 1
            kept = end
        else:
            is_open = False
        position = end
    return position, kept, rows


def _message_end(data: bytes, position: int) -> int:
    """Where the DataRow at `position` ends; -1 if there's none, or not the whole of it."""
    if len(data) - position < HEADER_BYTES or data[position] != DATA_ROW:
        return -1
    end: int = position + 1 + INT4.unpack_from(data, position + 1)[0]
    return end if position + HEADER_BYTES <= end <= len(data) else -1


class Stitcher:
    """Stitches the rows of one RowDescription.

    A row is, for each cell, its prefix and its value, or `null`; and `closing` behind the last.
    """

    def __init__(
        self,
        prefixes: Sequence[bytes],
        cells: Sequence[Cell],
        closing: bytes,
        null: bytes,
        is_csv: bool,
    ) -> None:
        find = self._find_csv_encoder if is_csv else cell_encoder
        self._cells = tuple(zip(prefixes, map(find, cells), strict=True))
        self._closing = closing
        self._null = null

    def stitch(self, messages: bytes) -> bytes:
        """Encode a run of complete DataRow messages.

        Raises:
            ValueError: a message, or a value in it, isn't built as the protocol has it.
            UnicodeDecodeError: text isn't UTF-8.
        """
        rows = []
        position = 0
        while position < len(messages):
            end = _message_end(messages, position)
            if end < 0:
                raise ValueError(_MALFORMED)
            rows.append(self._stitch_row(messages[position + HEADER_BYTES : end]))
            position = end
        return b"".join(rows)

    def _stitch_row(self, body: bytes) -> bytes:
        if len(body) < INT2.size or INT2.unpack_from(body)[0] != len(self._cells):
            raise ValueError(_MALFORMED)
        parts: list[bytes] = []
        position = INT2.size
        for prefix, encode in self._cells:
            if len(body) - position < INT4.size:
                raise ValueError(_MALFORMED)
            (size,) = INT4.unpack_from(body, position)
            position += INT4.size
            if size == _NULL_SIZE:
                parts += (prefix, self._null)
                continue
            if not 0 <= size <= len(body) - position:
                raise ValueError(_MALFORMED)
            parts += (prefix, encode(body[position : position + size]))
            position += size
        if position != len(body):
            raise ValueError(_MALFORMED)
        parts.append(self._closing)
        return b"".join(parts)

    def _find_csv_encoder(self, cell: Cell) -> Callable[[bytes], bytes]:
        if cell.kind is Kind.BOOL:
            return self._encode_csv_bool
        return self._encode_csv_moment if cell.kind is Kind.MOMENT else self._encode_csv

    def _encode_csv_bool(self, text: bytes) -> bytes:
        return quote_csv(encode_bool(text), self._null)

    def _encode_csv_moment(self, text: bytes) -> bytes:
        return self._encode_csv(iso_moment(text) or text)

    def _encode_csv(self, text: bytes) -> bytes:
        text.decode()  # refuses what isn't UTF-8
        return quote_csv(text, self._null)


def quote_csv(text: bytes, null: bytes) -> bytes:
    """Put quotes around what would be read as something else without them."""
    if text and text != null and _CSV_SPECIAL.search(text) is None:
        return text
    return b'"' + text.replace(b'"', b'""') + b'"'
