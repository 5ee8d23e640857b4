"""Postgres protocol messages: build the frontend's, parse the backend's.

Source: PostgreSQL documentation, "Frontend/Backend Protocol", chapters "Message Formats" and
"Error and Notice Message Fields".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct, pack, unpack_from
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from proxy.wire.copy_feed import CopyFeed

INT2 = Struct("!h")
_UINT2 = Struct("!H")
INT4 = Struct("!i")
_FIELD = Struct("!ihihih")  # table OID, column, type OID, type size, type modifier, format

DATA_ROW = ord("D")
HEADER_BYTES = 5  # type byte and length
NULL = b"\xff\xff\xff\xff"

DESCRIBE = b"D\0\0\0\x06P\0"
DESCRIBE_STATEMENT = b"D\0\0\0\x06S\0"
SYNC = b"S\0\0\0\x04"
FLUSH = b"H\0\0\0\x04"
COPY_DONE = b"c\0\0\0\x04"
EXECUTE_ALL = b"E\0\0\0\x09\0\0\0\0\0"
CANCEL_CODE = 80877102
SSL_REQUEST = pack("!ii", 8, 80877103)


class Field(NamedTuple):
    """One column of a RowDescription, as the server sent it."""

    name: str
    table_oid: int
    column: int
    type_oid: int
    type_size: int
    typmod: int
    format: int


class Flight(NamedTuple):
    """Messages that travel in one piece and end in one ReadyForQuery.

    `prefixes` is the number of row-less statements before the one with a Describe. The flight of a
    COPY … FROM STDIN ends in a Flush, and `feed` brings the data and the Sync. In a batch `more`
    statements come before the last one.
    """

    data: bytes
    prefixes: int = 0
    feed: "CopyFeed | None" = None
    more: int = 0


@dataclass(frozen=True, slots=True)
class ServerMessage:
    """An ErrorResponse or NoticeResponse; None where the server sent no such field."""

    severity: str
    sqlstate: str
    message: str
    detail: str | None = None
    hint: str | None = None
    position: int | None = None
    schema: str | None = None
    table: str | None = None
    column: str | None = None
    data_type: str | None = None
    constraint: str | None = None
    where: str | None = None

    @property
    def is_fatal(self) -> bool:
        """Whether the server closes the connection after this message."""
        return self.severity in {"FATAL", "PANIC"}


_FIELD_NAMES = {
    b"S": "severity",
    b"V": "severity",  # the untranslated one comes second and wins
    b"C": "sqlstate",
    b"M": "message",
    b"D": "detail",
    b"H": "hint",
    b"P": "position",
    b"s": "schema",
    b"t": "table",
    b"c": "column",
    b"d": "data_type",
    b"n": "constraint",
    b"W": "where",
}


def build_parse(sql: bytes, type_oids: Sequence[int] = ()) -> bytes:
    """Parse into the unnamed statement; OID 0 lets the server infer a parameter's type."""
    oids = pack(f"!H{len(type_oids)}I", len(type_oids), *type_oids)
    return b"P" + INT4.pack(4 + 1 + len(sql) + 1 + len(oids)) + b"\0" + sql + b"\0" + oids


def build_bind(values: Sequence[bytes | None]) -> bytes:
    """Bind values in text format to the unnamed portal; all results in text format, too."""
    sized = [NULL if value is None else INT4.pack(len(value)) + value for value in values]
    body = b"".join((b"\0\0\0\0", _UINT2.pack(len(values)), *sized, b"\0\0"))
    return b"B" + INT4.pack(4 + len(body)) + body


def build_execute(max_rows: int = 0) -> bytes:
    """Execute the unnamed portal; 0 means every row."""
    return b"E\0\0\0\x09\0" + INT4.pack(max_rows) if max_rows else EXECUTE_ALL


def build_query(sql: bytes) -> bytes:
    """Build a simple Query."""
    return b"Q" + INT4.pack(4 + len(sql) + 1) + sql + b"\0"


def build_copy_data(data: bytes) -> bytes:
    """Make one CopyData message."""
    return b"d" + INT4.pack(4 + len(data)) + data


def build_copy_fail(reason: bytes) -> bytes:
    """End the data of a COPY in failure."""
    return b"f" + INT4.pack(4 + len(reason) + 1) + reason + b"\0"


def build_cancel(pid: int, secret: int) -> bytes:
    """Build the CancelRequest that travels on a connection of its own."""
    return pack("!iiii", 16, CANCEL_CODE, pid, secret)


def parse_row_description(body: bytes) -> tuple[Field, ...]:
    """Parse the body of a RowDescription.

    A name that isn't UTF-8, after a statement that changed client_encoding, is shown as far as
    it can be.
    """
    (count,) = INT2.unpack_from(body)
    fields = []
    position = 2
    for _ in range(count):
        end = body.index(0, position)
        name = body[position:end].decode(errors="replace")
        table_oid, column, type_oid, *rest = _FIELD.unpack_from(body, end + 1)
        # OIDs are unsigned on the server's side
        fields.append(Field(name, table_oid & 0xFFFFFFFF, column, type_oid & 0xFFFFFFFF, *rest))
        position = end + 1 + _FIELD.size
    return tuple(fields)


def parse_parameter_description(body: bytes) -> tuple[int, ...]:
    """Parse the body of a ParameterDescription: the type's OID of each parameter."""
    (count,) = _UINT2.unpack_from(body)
    return unpack_from(f"!{count}I", body, _UINT2.size)


def parse_server_message(body: bytes) -> ServerMessage:
    """Parse the body of an ErrorResponse or NoticeResponse; unknown fields are passed over."""
    values: dict[str, str] = {"severity": "ERROR", "sqlstate": "XX000", "message": ""}
    for field in body.split(b"\0"):
        name = _FIELD_NAMES.get(field[:1])
        if name is not None:
            values[name] = field[1:].decode(errors="replace")
    position = values.pop("position", None)
    return ServerMessage(
        **values,
        position=int(position) if position is not None and position.isdecimal() else None,
    )


@lru_cache(1024)
def parse_tag(body: bytes) -> tuple[str, int | None]:
    """Split a CommandComplete tag into command and row count: `INSERT 0 2` -> ("INSERT", 2)."""
    words = body.rstrip(b"\0").decode().split(" ")
    if not words[-1].isdecimal():
        return " ".join(words), None
    count = int(words.pop())
    if words[-1].isdecimal():  # INSERT's historical OID
        words.pop()
    return " ".join(words), count
