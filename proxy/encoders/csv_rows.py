"""DataRow messages to CSV by RFC 4180, in a form that COPY reads back."""

import re
from collections.abc import Callable, Mapping, Sequence

from proxy.encoders.cell import iso_moment
from proxy.encoders.rows import Column, RowShape, describe_columns
from proxy.sql.types import SqlType
from proxy.wire.messages import HEADER_BYTES, INT4, Field
from proxy.wire.rowset import parse_data_row

_SPECIAL = re.compile(rb'[",\r\n]|^\s|\s$')


class CsvEncoder:
    """Encodes the rows of one RowDescription."""

    def __init__(self, fields: Sequence[Field], types: Mapping[int, SqlType], null: bytes) -> None:
        self.columns: tuple[Column, ...] = describe_columns(fields, types, RowShape("arrays"))
        self._null = null
        self._converters = [_CONVERTERS.get(field.type_oid) for field in fields]

    def header(self) -> bytes:
        """Encode the line of names."""
        return b",".join(self._quote(column.name.encode()) for column in self.columns) + b"\r\n"

    def encode(self, messages: bytes) -> bytes:
        """Encode a run of complete DataRow messages."""
        rows = []
        position = 0
        while position < len(messages):
            end = position + 1 + INT4.unpack_from(messages, position + 1)[0]
            rows.append(self._encode_row(messages[position + HEADER_BYTES : end]))
            position = end
        return b"".join(rows)

    def _encode_row(self, body: bytes) -> bytes:
        cells = zip(parse_data_row(body), self._converters, strict=True)
        return b",".join(self._encode_cell(*cell) for cell in cells) + b"\r\n"

    def _encode_cell(self, text: bytes | None, convert: Callable[[bytes], bytes] | None) -> bytes:
        if text is None:
            return self._null
        return self._quote(convert(text) if convert else text)

    def _quote(self, text: bytes) -> bytes:
        if text and text != self._null and _SPECIAL.search(text) is None:
            return text
        return b'"' + text.replace(b'"', b'""') + b'"'


def _bool(text: bytes) -> bytes:
    return b"true" if text == b"t" else b"false"


_CONVERTERS = {16: _bool, 1114: iso_moment, 1184: iso_moment, 1266: iso_moment}
