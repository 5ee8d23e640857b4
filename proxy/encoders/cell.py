"""One value in Postgres text format as JSON, by its type."""

import re
from binascii import b2a_base64, unhexlify
from collections.abc import Callable, Collection

import orjson

from proxy.encoders.array import array_encoder
from proxy.sql.types import SqlType

Encode = Callable[[bytes], bytes]

INT8, NUMERIC = 20, 1700

_DIGITS = b"0123456789"
_LINE_BREAKS = bytes.maketrans(b"\r\n", b"  ")
_BYTEA_ESCAPE = re.compile(rb"\\(\\|[0-7]{3})")
_ISO = re.compile(rb"(?:\d{4}-\d\d-\d\d )?\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d(?::\d\d)?)?")


def cell_encoder(kind: SqlType | None, quoted: Collection[int] = ()) -> Encode:
    """Find the encoder for a type; numbers whose OID is in `quoted` become JSON strings.

    Encoders raise UnicodeDecodeError for text that isn't UTF-8.
    """
    if kind is None:
        return encode_text
    if kind.element is not None:
        return array_encoder(cell_encoder(kind.element, quoted), kind.delimiter)
    if kind.oid in quoted:
        return _quote
    return _BY_OID.get(kind.oid, encode_text)


def encode_text(text: bytes) -> bytes:
    """Encode any text as a JSON string."""
    return orjson.dumps(text.decode())


def _quote(text: bytes) -> bytes:
    return b'"' + text + b'"'


def _encode_bool(text: bytes) -> bytes:
    return b"true" if text == b"t" else b"false"


def _encode_integer(text: bytes) -> bytes:
    return text


def _encode_number(text: bytes) -> bytes:
    return text if text[-1] in _DIGITS else _quote(text)  # NaN, Infinity, -Infinity


def _encode_json(text: bytes) -> bytes:
    """Embed a document; raw line breaks stand only between its tokens, and would break NDJSON."""
    text.decode()  # refuses what isn't UTF-8
    return text.translate(_LINE_BREAKS)


def _encode_bytea(text: bytes) -> bytes:
    """Encode bytes as base64, from the hex format or the escape format of bytea_output."""
    data = unhexlify(text[2:]) if text.startswith(b"\\x") else _BYTEA_ESCAPE.sub(_byte, text)
    return _quote(b2a_base64(data, newline=False))


def _byte(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return code if code == b"\\" else bytes((int(code, 8),))


def _encode_moment(text: bytes) -> bytes:
    """Encode a timestamp or a timetz as ISO 8601, as Postgres text where ISO has no form for it.

    So stay infinity, BC, years over 9999 and offsets with seconds.
    """
    moment = iso_moment(text)
    return encode_text(text) if moment is text else _quote(moment)


def iso_moment(text: bytes) -> bytes:
    """Write a timestamp or a timetz as ISO 8601, or return `text` itself."""
    if _ISO.fullmatch(text) is None:
        return text
    minutes = b":00" if text[-3] in b"+-" else b""
    return text.replace(b" ", b"T") + minutes


# date and time have their ISO form already
_BY_OID: dict[int, Encode] = {
    16: _encode_bool,
    17: _encode_bytea,
    INT8: _encode_integer,
    21: _encode_integer,
    23: _encode_integer,
    26: _encode_integer,
    114: _encode_json,
    700: _encode_number,
    701: _encode_number,
    1114: _encode_moment,
    1184: _encode_moment,
    1266: _encode_moment,
    NUMERIC: _encode_number,
    3802: _encode_json,
}
