"""An answer as a table for people."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from unicodedata import combining, east_asian_width

from msgspec import Raw

from proxy.command.printer import Column, Outcome, decode_cells, decode_columns, decode_text
from proxy.command.text import escape_controls

CELL_WIDTH = 80
NUMBERS = frozenset({"int2", "int4", "int8", "oid", "float4", "float8", "numeric"})
COUNTED = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE"})


class TablePrinter:
    """Holds every row, since the widest one sets the width; the request limits their number."""

    def __init__(self) -> None:
        self._columns: Sequence[Column] = ()
        self._rows: list[list[str]] = []
        self._is_cut = False

    def head(self, columns: Raw) -> bytes:
        self._columns = decode_columns(columns)
        return b""

    def rows(self, rows: Sequence[bytes | Raw]) -> bytes:
        self._rows += [[self._to_cell(cell) for cell in decode_cells(row)] for row in rows]
        return b""

    def end(self, outcome: Outcome) -> bytes:
        if not self._columns:
            count = f" {outcome.row_count}" if outcome.command in COUNTED else ""
            return f"{outcome.command}{count}\n".encode()
        return "".join(f"{line}\n" for line in [*self._draw(), self._sum_up(outcome)]).encode()

    def _to_cell(self, cell: Raw) -> str:
        raw = bytes(cell)
        if raw == b"null":
            return "NULL"
        text = escape_controls(decode_text(raw) if raw.startswith(b'"') else raw.decode())
        if len(text) <= CELL_WIDTH:
            return text
        self._is_cut = True
        return text[: CELL_WIDTH - 1] + "…"

    def _draw(self) -> list[str]:
        names = [escape_controls(column.name) for column in self._columns]
        widths = [max(map(measure, cells)) for cells in zip(names, *self._rows, strict=True)]
        sides = [column.type in NUMBERS for column in self._columns]
        header = _join(names, widths, repeat(False))
        body = [_join(row, widths, sides) for row in self._rows]
        return [header, "-+-".join("-" * width for width in widths), *body]

    def _sum_up(self, outcome: Outcome) -> str:
        count = f"{outcome.row_count} row{'' if outcome.row_count == 1 else 's'}"
        cut = [
            *(["there are more"] if outcome.truncated else []),
            *(["long values are cut: …"] if self._is_cut else []),
        ]
        if not cut:
            return f"({count})"
        return f"({count}; {'; '.join(cut)}; --format ndjson has everything)"


def measure(text: str) -> int:
    """Count the cells of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 1 + (east_asian_width(char) in "WF") for char in text)


def _join(cells: Sequence[str], widths: Sequence[int], sides: Iterable[bool]) -> str:
    """Join one line; a true side is the right one."""
    padded = []
    for cell, width, is_right in zip(cells, widths, sides, strict=False):
        blanks = " " * (width - measure(cell))
        padded.append(blanks + cell if is_right else cell + blanks)
    return " | ".join(padded).rstrip()
