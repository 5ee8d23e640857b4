"""How the text of each type becomes a value of JSON or CSV."""

from collections.abc import Collection
from enum import IntEnum
from typing import NamedTuple

from proxy.sql.types import SqlType

INT8, NUMERIC = 20, 1700


class Kind(IntEnum):
    """The ways; `_cell.pxi` has the same numbers."""

    TEXT = 0  # a string, escaped
    VERBATIM = 1  # as it is
    QUOTED = 2  # a string that needs no escape
    NUMBER = 3  # as it is, but NaN and the infinities are strings
    BOOL = 4
    JSON = 5  # embedded
    BYTEA = 6  # base64
    MOMENT = 7  # ISO 8601, where it has a form for it
    ARRAY = 8


class Cell(NamedTuple):
    """The way of one column; for an array that of its elements, and what stands between them."""

    kind: Kind
    element: Kind = Kind.TEXT
    delimiter: str = ","


_BY_OID = {
    16: Kind.BOOL,
    17: Kind.BYTEA,
    INT8: Kind.VERBATIM,
    21: Kind.VERBATIM,
    23: Kind.VERBATIM,
    26: Kind.VERBATIM,
    114: Kind.JSON,
    650: Kind.QUOTED,  # cidr
    700: Kind.NUMBER,
    701: Kind.NUMBER,
    774: Kind.QUOTED,  # macaddr8
    829: Kind.QUOTED,  # macaddr
    869: Kind.QUOTED,  # inet
    1082: Kind.QUOTED,  # date has its ISO form already
    1083: Kind.QUOTED,  # and so has time
    1114: Kind.MOMENT,
    1184: Kind.MOMENT,
    1186: Kind.QUOTED,  # interval
    1266: Kind.MOMENT,
    NUMERIC: Kind.NUMBER,
    2950: Kind.QUOTED,  # uuid
    3802: Kind.JSON,
}
_DELIMITERS = frozenset(",;|/:")  # that a type has, or may sensibly have; else an array is text


def find_cell(kind: SqlType | None, quoted: Collection[int] = ()) -> Cell:
    """Find the way of a type, None for an unknown one; numbers in `quoted` become strings."""
    if kind is None:
        return Cell(Kind.TEXT)
    if kind.element is not None and kind.delimiter in _DELIMITERS:
        return Cell(Kind.ARRAY, find_cell(kind.element, quoted).kind, kind.delimiter)
    return Cell(Kind.QUOTED if kind.oid in quoted else _BY_OID.get(kind.oid, Kind.TEXT))
