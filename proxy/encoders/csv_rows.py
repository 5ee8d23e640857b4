"""DataRow messages to CSV by RFC 4180, in a form that COPY reads back."""

from collections.abc import Mapping, Sequence

from proxy.encoders.kind import Cell, Kind, find_cell
from proxy.encoders.row_encoder import RowShape, describe_columns, refuse_unreadable
from proxy.encoders.rows import quote_csv
from proxy.encoders.stitcher import Stitcher
from proxy.sql.types import SqlType
from proxy.wire.messages import Field

_OWN = (Kind.BOOL, Kind.MOMENT)  # true for t, and ISO 8601; everything else is Postgres text
_LINE_END = b"\r\n"


def is_null_text(text: str) -> bool:
    """Whether CSV can have this for NULL."""
    return text.isprintable() and not set(text) & set('",')


class CsvEncoder:
    """Encodes the rows of one RowDescription; NULL is `null`, an empty string is `""`."""

    def __init__(self, fields: Sequence[Field], types: Mapping[int, SqlType], null: bytes) -> None:
        self.columns = describe_columns(fields, types, RowShape("arrays"))
        cells = (find_cell(types.get(field.type_oid)) for field in fields)
        self._stitch = Stitcher(
            prefixes=tuple(b"," * (place > 0) for place in range(len(fields))),
            cells=tuple(cell if cell.kind in _OWN else Cell(Kind.TEXT) for cell in cells),
            closing=_LINE_END,
            null=null,
            is_csv=True,
        ).stitch

    def header(self) -> bytes:
        """Encode the line of names."""
        names = (quote_csv(column.name.encode(), b"") for column in self.columns)
        return b",".join(names) + _LINE_END

    def encode(self, messages: bytes) -> bytes:
        """Encode a run of complete DataRow messages.

        Raises:
            EncodingFailed: they hold text that isn't UTF-8, or can't be read at all.
        """
        with refuse_unreadable():
            return self._stitch(messages)
