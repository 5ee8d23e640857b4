"""One value in Postgres text format as JSON, by its type."""

import re
from binascii import b2a_base64, unhexlify
from collections.abc import Callable

import orjson

from proxy.encoders.array import array_encoder
from proxy.encoders.kind import Cell, Kind

Encode = Callable[[bytes], bytes]

_DIGITS = frozenset(b"%d" % digit for digit in range(10))
_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_BYTEA_ESCAPE = re.compile(rb"\\(\\|[0-7]{3})")
_ISO = re.compile(rb"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d(?::\d\d)?)?")


def cell_encoder(cell: Cell) -> Encode:
    """Find the encoder of a column.

    Encoders raise UnicodeDecodeError for text that isn't UTF-8, and ValueError for what isn't a
    value of its type.
    """
    if cell.kind is Kind.ARRAY:
        return array_encoder(_BY_KIND[cell.element], cell.delimiter)
    return _BY_KIND[cell.kind]


def encode_text(text: bytes) -> bytes:
    """Encode any text as a JSON string."""
    return orjson.dumps(text.decode())


def _quote(text: bytes) -> bytes:
    return b'"' + text + b'"'


def encode_bool(text: bytes) -> bytes:
    """Encode t and f as JSON and CSV have them."""
    return b"true" if text == b"t" else b"false"


def _encode_integer(text: bytes) -> bytes:
    return text


def _encode_number(text: bytes) -> bytes:
    return text if text[-1:] in _DIGITS else _quote(text)  # NaN, Infinity, -Infinity


def _encode_json(text: bytes) -> bytes:
    """Embed a document; raw line breaks stand only between its tokens, and would break NDJSON."""
    text.decode()  # refuses what isn't UTF-8
    return text.translate(_LINE_BREAKS)


def _encode_bytea(text: bytes) -> bytes:
    return _quote(b2a_base64(decode_bytea(text), newline=False))


def decode_bytea(text: bytes) -> bytes:
    """Read bytes in the hex format or the escape format of bytea_output."""
    return unhexlify(text[2:]) if text.startswith(b"\\x") else _BYTEA_ESCAPE.sub(_byte, text)


def _byte(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return code if code == b"\\" else bytes((int(code, 8),))


def _encode_moment(text: bytes) -> bytes:
    """Encode a timestamp or a timetz as ISO 8601, as Postgres text where ISO has no form for it.

    So stay infinity, BC, years over 9999 and offsets with seconds.
    """
    moment = iso_moment(text)
    return encode_text(text) if moment is None else _quote(moment)


def iso_moment(text: bytes) -> bytes | None:
    """Write a timestamp or a timetz as ISO 8601; None where that has no form for it."""
    if _ISO.fullmatch(text) is None:
        return None
    minutes = b":00" if text[-3] in b"+-" else b""
    return text.replace(b" ", b"T") + minutes


_BY_KIND: dict[Kind, Encode] = {
    Kind.TEXT: encode_text,
    Kind.VERBATIM: _encode_integer,
    Kind.QUOTED: _quote,
    Kind.NUMBER: _encode_number,
    Kind.BOOL: encode_bool,
    Kind.JSON: _encode_json,
    Kind.BYTEA: _encode_bytea,
    Kind.MOMENT: _encode_moment,
}
