"""A body of NDJSON on its way into a table: rewritten as COPY's text format."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec import DecodeError, Raw, ValidationError
from msgspec.json import Decoder

from proxy.errors import InvalidRequest, RequestTooLarge
from proxy.query.params import SHOWN_NAME, did_you_mean, encode_value
from proxy.sql.types import SqlType

_NULL = Raw(b"null")
_SPECIAL = re.compile(rb"[\\\n\r\t]")
_ESCAPES = {b"\\": rb"\\", b"\n": rb"\n", b"\r": rb"\r", b"\t": rb"\t"}
_decode_object = Decoder(dict[str, Raw]).decode
_decode_array = Decoder(list[Raw]).decode


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column that a load can fill; None for a type that isn't known."""

    name: str
    kind: SqlType | None


class NdjsonSource:
    """Turns lines into rows: objects by the names of columns, arrays in their order.

    A member that an object doesn't have is NULL.
    """

    options = "format text"

    def __init__(self, columns: Sequence[str], max_line_bytes: int) -> None:
        self.columns = tuple(columns)
        self._max_line_bytes = max_line_bytes
        self._kinds: Sequence[SqlType | None] = ()
        self._rest = b""
        self._lines = 0

    def learn(self, table: Sequence[TableColumn]) -> None:
        """Be told the table's columns, before the first piece; none if it isn't there."""
        kinds = {column.name: column.kind for column in table}
        self.columns = self.columns or tuple(kinds)
        self._kinds = [kinds.get(name) for name in self.columns]

    def encode(self, piece: bytes) -> bytes:
        """Turn the lines that the next piece of the body completes into rows.

        Raises:
            InvalidRequest, RequestTooLarge: a line is wrong, or too long; `line` says which.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > self._max_line_bytes:
            raise RequestTooLarge(
                f"line {self._lines + len(lines) + 1} has more than {self._max_line_bytes} bytes "
                "(limits.body_bytes)"
            )
        return b"".join(map(self._encode_line, lines))

    def finish(self) -> bytes:
        """End the body, whose last line may lack its line break."""
        rest, self._rest = self._rest, b""
        return self._encode_line(rest) if rest else b""

    def _encode_line(self, line: bytes) -> bytes:
        self._lines += 1
        try:
            line.decode()
            cells = map(_encode_cell, self._read(line), self._kinds)
            return b"\t".join(cells) + b"\n"
        except InvalidRequest as error:
            raise InvalidRequest(f"line {self._lines} {error.detail}", line=self._lines) from error
        except (DecodeError, UnicodeDecodeError, RecursionError) as cause:
            detail = f"line {self._lines} is neither a JSON object nor an array, in UTF-8"
            raise InvalidRequest(detail, line=self._lines) from cause

    def _read(self, line: bytes) -> Sequence[Raw]:
        if line.lstrip()[:1] == b"[":
            values = _decode_array(line)
            if len(values) != len(self.columns):
                raise InvalidRequest(f"has {len(values)} values for {len(self.columns)} columns")
            return values
        members = _decode_object(line)
        if not members.keys() <= set(self.columns):
            raise InvalidRequest(self._name_stranger(members))
        return [members.get(name, _NULL) for name in self.columns]

    def _name_stranger(self, members: Mapping[str, Raw]) -> str:
        name = next(name for name in members if name not in self.columns)
        hint = did_you_mean(name, self.columns)
        return f"has a member '{name[:SHOWN_NAME]}', which is no column of this load{hint}"


def read_members(line: bytes) -> tuple[str, ...]:
    """Read the names of columns from the first line; none if it's an array, or not JSON at all."""
    try:
        return tuple(_decode_object(line))
    except (DecodeError, ValidationError, UnicodeDecodeError, RecursionError):
        return ()  # what is wrong with it shows when it's encoded


def _encode_cell(value: Raw, kind: SqlType | None) -> bytes:
    text, _ = encode_value(value, kind)
    if text is None:
        return rb"\N"
    return _SPECIAL.sub(_escape, text)


def _escape(match: re.Match[bytes]) -> bytes:
    return _ESCAPES[match[0]]
