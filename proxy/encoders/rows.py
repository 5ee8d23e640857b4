"""DataRow messages to rows of JSON, in pure Python: the readable twin of the compiled encoder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Literal

import orjson

from proxy.encoders.cell import INT8, NUMERIC, cell_encoder
from proxy.errors import EncodingFailed
from proxy.sql.types import SqlType
from proxy.wire.messages import Field

_INT4 = Struct("!i").unpack_from
_HEADER = 7  # b"D", length, number of cells


@dataclass(frozen=True, slots=True)
class RowShape:
    """How rows are wanted: objects or arrays, which numbers as strings, and what stands around."""

    rows: Literal["objects", "arrays"] = "objects"
    int8: Literal["number", "string"] = "number"
    numeric: Literal["string", "number"] = "string"
    before: bytes = b""  # in front of each row
    after: bytes = b""

    @property
    def quoted(self) -> frozenset[int]:
        """OIDs of the number types that travel as strings."""
        wishes = {INT8: self.int8, NUMERIC: self.numeric}
        return frozenset(oid for oid, wish in wishes.items() if wish == "string")


@dataclass(frozen=True, slots=True)
class Column:
    """A column as answers describe it; `type` is the OID's digits where the name is unknown."""

    name: str
    type: str
    oid: int
    typmod: int
    table_oid: int
    column: int


class RowEncoder:
    """Encodes the rows of one RowDescription."""

    def __init__(
        self, fields: Sequence[Field], types: Mapping[int, SqlType], shape: RowShape
    ) -> None:
        is_object = shape.rows == "objects"
        self.columns = describe_columns(fields, types, shape)
        kinds = (types.get(field.type_oid) for field in fields)
        encoders = (cell_encoder(kind, shape.quoted) for kind in kinds)
        prefixes = _prefixes(self.columns, is_object=is_object)
        self._cells = tuple(zip(prefixes, encoders, strict=True))
        opening, closing = (b"{", b"}") if is_object else (b"[", b"]")
        self._opening, self._closing = shape.before + opening, closing + shape.after

    def encode(self, messages: bytes) -> bytes:
        """Encode a run of complete DataRow messages.

        Raises:
            EncodingFailed: the server sent text that isn't UTF-8.
        """
        rows = []
        position = 0
        try:
            while position < len(messages):
                rows.append(self._encode_row(messages, position + _HEADER))
                position += 1 + _INT4(messages, position + 1)[0]
        except UnicodeDecodeError as cause:
            raise EncodingFailed(
                "the server sent text that is not UTF-8; leave client_encoding alone, "
                "and cast columns of other encodings to bytea"
            ) from cause
        return b"".join(rows)

    def _encode_row(self, messages: bytes, position: int) -> bytes:
        parts = [self._opening]
        for prefix, encode in self._cells:
            (size,) = _INT4(messages, position)
            position += 4
            if size < 0:
                parts += (prefix, b"null")
                continue
            parts += (prefix, encode(messages[position : position + size]))
            position += size
        parts.append(self._closing)
        return b"".join(parts)


def describe_columns(
    fields: Sequence[Field], types: Mapping[int, SqlType], shape: RowShape
) -> tuple[Column, ...]:
    """Describe the columns; the names of objects are made distinct."""
    names = [field.name for field in fields]
    shown = _distinct(names) if shape.rows == "objects" else names
    return tuple(_column(field, name, types) for field, name in zip(fields, shown, strict=True))


def _column(field: Field, name: str, types: Mapping[int, SqlType]) -> Column:
    kind = types.get(field.type_oid)
    type_name = kind.name if kind else str(field.type_oid)
    return Column(name, type_name, field.type_oid, field.typmod, field.table_oid, field.column)


def _prefixes(columns: Sequence[Column], *, is_object: bool) -> list[bytes]:
    """What stands before each cell: the comma from the second on, and the name in objects."""
    names = [orjson.dumps(column.name) + b":" if is_object else b"" for column in columns]
    return [b"," * (place > 0) + name for place, name in enumerate(names)]


def _distinct(names: Sequence[str]) -> Iterable[str]:
    """Number repeated names, `name` and `name_2`, leaving alone those that are there once."""
    taken = set(names)
    numbers: dict[str, int] = {}
    for name in names:
        number = numbers.get(name, 0) + 1
        while number > 1 and f"{name}_{number}" in taken:
            number += 1
        numbers[name] = number
        yield f"{name}_{number}" if number > 1 else name
