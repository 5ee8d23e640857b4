"""Rows of JSON, as a request wants them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple

import orjson

from proxy.encoders.kind import INT8, NUMERIC, find_cell
from proxy.encoders.stitcher import Stitcher
from proxy.errors import EncodingFailed
from proxy.sql.types import SqlType
from proxy.wire.messages import Field


class RowShape(NamedTuple):  # part of a key that is hashed with every query
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
    """Encodes the rows of one RowDescription as JSON."""

    def __init__(
        self, fields: Sequence[Field], types: Mapping[int, SqlType], shape: RowShape
    ) -> None:
        is_object = shape.rows == "objects"
        opening, closing = (b"{", b"}") if is_object else (b"[", b"]")
        self.columns = describe_columns(fields, types, shape)
        opening, closing = shape.before + opening, closing + shape.after
        self._stitch = Stitcher(
            prefixes=_prefixes(self.columns, opening, is_object=is_object),
            cells=tuple(find_cell(types.get(field.type_oid), shape.quoted) for field in fields),
            closing=closing if fields else opening + closing,
            null=b"null",
            is_csv=False,
        ).stitch

    def encode(self, messages: bytes) -> bytes:
        """Encode a run of complete DataRow messages.

        Raises:
            EncodingFailed: they hold text that isn't UTF-8, or can't be read at all.
        """
        with refuse_unreadable():
            return self._stitch(messages)


@contextmanager
def refuse_unreadable() -> Iterator[None]:
    """Say what a Stitcher has against what the server sent."""
    try:
        yield
    except UnicodeDecodeError as cause:
        raise EncodingFailed(
            "the server sent text that is not UTF-8; leave client_encoding alone, "
            "and cast columns of other encodings to bytea"
        ) from cause
    except ValueError as cause:
        raise EncodingFailed(f"the server sent what can't be read: {cause}") from cause


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


def _prefixes(columns: Sequence[Column], opening: bytes, *, is_object: bool) -> tuple[bytes, ...]:
    """What stands before each cell: the row's opening or a comma, and the name in objects."""
    names = [orjson.dumps(column.name) + b":" if is_object else b"" for column in columns]
    return tuple((b"," if place else opening) + name for place, name in enumerate(names))


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
