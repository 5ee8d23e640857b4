"""The formats that are made here: JSON, NDJSON, and CSV of a saved query."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Raw, Struct
from msgspec.json import Decoder, encode

decode_cells = Decoder(list[Raw]).decode
decode_text = Decoder(str).decode


class Column(Struct, frozen=True):
    """What we read of a column."""

    name: str
    type: str


class Notice(Struct, frozen=True):
    """What we read of a notice."""

    severity: str = "NOTICE"
    message: str = ""


class Outcome(Struct, frozen=True):
    """The end of an answer; what we only pass on stays as it came."""

    row_count: int
    command: str | None
    truncated: bool
    notices: list[Raw]
    elapsed_ms: Raw


class Printer(Protocol):
    """One answer in its format; every method returns the bytes to print next."""

    def head(self, columns: Raw) -> bytes:
        """Begin."""

    def rows(self, rows: Sequence[bytes | Raw]) -> bytes:
        """Print a run of rows, each its JSON."""

    def end(self, outcome: Outcome) -> bytes:
        """End in success; what failed has no end."""


class NdjsonPrinter:
    """A row is a line, and nothing else is."""

    def head(self, _columns: Raw) -> bytes:
        return b""

    def rows(self, rows: Sequence[bytes | Raw]) -> bytes:
        return b"\n".join(rows) + b"\n"

    def end(self, _outcome: Outcome) -> bytes:
        return b""


class JsonPrinter:
    """The document that /v1/query answers with; it stays open if there is no good end."""

    def __init__(self) -> None:
        self._separator = b""

    def head(self, columns: Raw) -> bytes:
        return b'{"columns":' + bytes(columns) + b',"rows":['

    def rows(self, rows: Sequence[bytes | Raw]) -> bytes:
        printed = self._separator + b",".join(rows)
        self._separator = b","
        return printed

    def end(self, outcome: Outcome) -> bytes:
        return b"]," + encode(outcome)[1:] + b"\n"


class CsvPrinter:
    """CSV made of JSON: NULL is nothing, an empty string is "", arrays and documents are JSON."""

    def head(self, columns: Raw) -> bytes:
        names = [column.name for column in decode_columns(columns)]
        return self._join([_quote(name) for name in names]) if names else b""

    def rows(self, rows: Sequence[bytes | Raw]) -> bytes:
        return b"".join(self._join([_to_field(cell) for cell in decode_cells(row)]) for row in rows)

    def end(self, _outcome: Outcome) -> bytes:
        return b""

    def _join(self, fields: Sequence[str]) -> bytes:
        return (",".join(fields) + "\r\n").encode()


decode_columns = Decoder(list[Column]).decode


def _to_field(cell: Raw) -> str:
    text = bytes(cell)
    if text == b"null":
        return ""
    return _quote(decode_text(text) if text.startswith(b'"') else text.decode())


def _quote(text: str) -> str:
    if text and not any(char in text for char in '",\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'
