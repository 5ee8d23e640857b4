"""Columns of Postgres text as Arrow arrays: docs/adr/0014-arrow-types.md."""

import re
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import partial
from itertools import accumulate
from typing import Any, TypeAlias

import nanoarrow as na

from proxy.encoders.cell import decode_bytea
from proxy.encoders.kind import INT8, NUMERIC, Kind, find_cell
from proxy.sql.types import SqlType

Cells: TypeAlias = Sequence[bytes | None]
Buffers: TypeAlias = tuple[list[Any], list[Any]]  # of the array, without its validity; children

MAX_PRECISION = 38  # of decimal128
_TYPMOD_BASE = 4  # bytes of header that Postgres counts in
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # for timestamps without a zone
_EPOCH_UTC = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND = timedelta(microseconds=1)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ArrowColumn:
    """How one column becomes Arrow: its type there, and the buffers of its values.

    `fill` raises ValueError or OverflowError for a value that the type can't hold.
    """

    schema: Any  # nanoarrow's Schema
    fill: Callable[[Cells], Buffers]

    def build(self, cells: Cells) -> Any:
        """Build the Arrow array of these cells."""
        buffers, children = self.fill(cells)
        return na.c_array_from_buffers(
            self.schema, len(cells), [_validity(cells), *buffers], children=children
        )


def find_column(kind: SqlType | None, typmod: int) -> ArrowColumn:
    """Find the way of a type; text where Arrow has nothing for it."""
    if kind is None:
        return TEXT
    if find_cell(kind).kind is Kind.ARRAY:
        item = find_column(kind.element, typmod)
        return ArrowColumn(na.list_(item.schema), partial(_fill_list, item, _element(kind)))
    if kind.oid == NUMERIC:
        return _find_decimal(typmod)
    return _BY_OID.get(kind.oid, TEXT)


def _find_decimal(typmod: int) -> ArrowColumn:
    """Read precision and scale from the modifier, as numeric_typmod_precision() does."""
    packed = typmod - _TYPMOD_BASE
    precision, scale = packed >> 16 & 0xFFFF, packed & 0x7FF
    if typmod < 0 or not scale <= precision <= MAX_PRECISION:  # a negative scale looks too large
        return TEXT
    return ArrowColumn(na.decimal128(precision, scale), partial(_fill_decimals, precision, scale))


def _validity(cells: Cells) -> bytes | None:
    if None not in cells:
        return None
    return _pack(cell is not None for cell in cells)


def _pack(bits: Any) -> bytes:
    """Pack booleans into bits, the first one lowest."""
    digits = "".join("1" if bit else "0" for bit in bits)[::-1]
    return int(digits or "0", 2).to_bytes((len(digits) + 7) // 8, "little")


def _fill_numbers(code: str, parse: Callable[[bytes], Any], cells: Cells) -> Buffers:
    return [array(code, [0 if cell is None else parse(cell) for cell in cells])], []


def _fill_booleans(cells: Cells) -> Buffers:
    return [_pack(cell == b"t" for cell in cells)], []


def _fill_decimals(precision: int, scale: int, cells: Cells) -> Buffers:
    limit = 10**precision

    def to_bytes(cell: bytes | None) -> bytes:
        whole, _, fraction = (cell or b"0").partition(b".")
        number = int(whole + fraction.ljust(scale, b"0"))
        if len(fraction) > scale or abs(number) >= limit:
            raise OverflowError("more digits than the modifier has")
        return number.to_bytes(16, "little", signed=True)

    return [b"".join(map(to_bytes, cells))], []


def _fill_text(cells: Cells) -> Buffers:
    for cell in cells:
        if cell is not None and not cell.isascii():
            cell.decode()  # refuses what isn't UTF-8
    return _fill_bytes(cells)


def _fill_binary(cells: Cells) -> Buffers:
    return _fill_bytes([None if cell is None else decode_bytea(cell) for cell in cells])


def _fill_bytes(cells: Cells) -> Buffers:
    values = [cell or b"" for cell in cells]
    return [array("i", [0, *accumulate(map(len, values))]), b"".join(values)], []


def _fill_list(item: ArrowColumn, element: re.Pattern[bytes], cells: Cells) -> Buffers:
    lists = [() if cell is None else _read_array(element, cell) for cell in cells]
    offsets = array("i", [0, *accumulate(map(len, lists))])
    return [offsets], [item.build([value for values in lists for value in values])]


def _element(kind: SqlType) -> re.Pattern[bytes]:
    """Match an element of an array's text; what the delimiter of its type isn't needs no quotes."""
    unquoted = rb'[^{}"' + re.escape(kind.delimiter.encode()) + rb"]+"
    return re.compile(rb'"((?:[^"\\]++|\\.)*+)"|(' + unquoted + rb")", re.DOTALL)


def _read_array(element: re.Pattern[bytes], text: bytes) -> list[bytes | None]:
    """Read the elements of an array of one dimension that counts from 1."""
    if not text.startswith(b"{") or text.startswith(b"{{"):
        raise ValueError("not a plain array")
    return [
        _ESCAPED.sub(rb"\1", match[1]) if match[2] is None else _read_word(match[2])
        for match in element.finditer(text)
    ]


def _read_word(word: bytes) -> bytes | None:
    return None if word == b"NULL" else word


def _days(text: bytes) -> int:
    return date.fromisoformat(text.decode()).toordinal() - _EPOCH.toordinal()


def _microseconds(epoch: datetime, text: bytes) -> int:
    moment = datetime.fromisoformat(text.decode())
    if moment.tzinfo is None and epoch.tzinfo is not None:
        raise ValueError("no zone")
    return (moment - epoch) // _MICROSECOND


def _time_of_day(text: bytes) -> int:
    if text.startswith(b"24"):  # which Python takes for 00:00 from 3.14 on
        raise ValueError("Arrow's day ends before 24:00")
    moment = time.fromisoformat(text.decode())
    return (datetime.combine(_EPOCH, moment) - _EPOCH) // _MICROSECOND


def _numbers(schema: Any, code: str, parse: Callable[[bytes], Any]) -> ArrowColumn:
    return ArrowColumn(schema, partial(_fill_numbers, code, parse))


TEXT = ArrowColumn(na.string(), _fill_text)
_BY_OID = {  # not by name, which a type of the user's may have too
    16: ArrowColumn(na.bool_(), _fill_booleans),
    17: ArrowColumn(na.binary(), _fill_binary),
    INT8: _numbers(na.int64(), "q", int),
    21: _numbers(na.int16(), "h", int),
    23: _numbers(na.int32(), "i", int),
    26: _numbers(na.uint32(), "I", int),  # oid
    700: _numbers(na.float32(), "f", float),
    701: _numbers(na.float64(), "d", float),
    1082: _numbers(na.date32(), "i", _days),
    1083: _numbers(na.time64("us"), "q", _time_of_day),
    1114: _numbers(na.timestamp("us"), "q", partial(_microseconds, _EPOCH)),
    1184: _numbers(na.timestamp("us", timezone="UTC"), "q", partial(_microseconds, _EPOCH_UTC)),
}
