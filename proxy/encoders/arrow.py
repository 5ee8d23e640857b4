"""DataRow messages as an Arrow stream: schema, record batches, end.

Source: the Arrow project, "Columnar Format", Serialization and Interprocess Communication.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, TypeAlias

import nanoarrow as na
from nanoarrow.ipc import StreamWriter

from proxy.encoders.arrow_column import TEXT, ArrowColumn, Cells, find_column
from proxy.encoders.row_encoder import refuse_unreadable
from proxy.errors import EncodingFailed
from proxy.sql.types import SqlType
from proxy.wire.messages import HEADER_BYTES, INT4, Field
from proxy.wire.rowset import parse_data_row

Rows: TypeAlias = list[tuple[bytes | None, ...]]

TYPE_KEY = "pg:type"  # of a field's metadata: the name of its type in Postgres


class ArrowEncoder:
    """Encodes the rows of one RowDescription; repeated names stay as they are."""

    def __init__(self, fields: Sequence[Field], types: Mapping[int, SqlType]) -> None:
        self._fields = fields
        self._kinds = [types.get(field.type_oid) for field in fields]
        self._columns = [
            find_column(kind, field.typmod) for kind, field in zip(self._kinds, fields, strict=True)
        ]
        self._schema: Any = None  # nanoarrow's, once it's decided
        self._out = BytesIO()
        self._writer = StreamWriter.from_writable(self._out)

    def head(self, first: bytes) -> bytes:
        """Decide the types, and write the schema.

        A column of `first` with a value that its type can't hold becomes text.

        Raises:
            EncodingFailed: the messages can't be read at all.
        """
        with refuse_unreadable():
            columns = self._turn(_split(first))
        self._columns = list(map(_settle, self._columns, columns))
        self._schema = na.struct(list(map(_describe, self._fields, self._kinds, self._columns)))
        self._writer.write_stream(na.c_array_stream([], schema=self._schema))
        return self._take()

    def encode(self, messages: bytes) -> bytes:
        """Write one record batch.

        Raises:
            EncodingFailed: a value doesn't fit the type of its column, or isn't UTF-8; or the
                messages can't be read at all.
        """
        with refuse_unreadable():
            rows = _split(messages)
            children = list(map(_build, self._fields, self._columns, self._turn(rows)))
        self._writer.write_array(
            na.c_array_from_buffers(self._schema, len(rows), [None], children=children)
        )
        return self._take()

    def end(self) -> bytes:
        """Write the end of the stream."""
        self._writer.close()
        return self._take()

    def _turn(self, rows: Rows) -> list[Cells]:
        """Turn rows into the cells of each column."""
        return list(zip(*rows, strict=True)) if rows else [() for _ in self._fields]

    def _take(self) -> bytes:
        data = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return data


def _split(messages: bytes) -> Rows:
    rows, position = [], 0
    while position < len(messages):
        end = position + 1 + INT4.unpack_from(messages, position + 1)[0]
        rows.append(parse_data_row(messages[position + HEADER_BYTES : end]))
        position = end
    return rows


def _settle(column: ArrowColumn, cells: Cells) -> ArrowColumn:
    try:
        column.build(cells)
    except (ValueError, OverflowError):
        return TEXT
    return column


def _describe(field: Field, kind: SqlType | None, column: ArrowColumn) -> Any:
    metadata = {TYPE_KEY: kind.name} if kind else None
    return na.c_schema(column.schema).modify(name=field.name, metadata=metadata)


def _build(field: Field, column: ArrowColumn, cells: Cells) -> Any:
    try:
        return column.build(cells)
    except UnicodeDecodeError:
        raise  # a cast to text wouldn't help
    except (ValueError, OverflowError):
        raise EncodingFailed(
            f"a value of column '{field.name}' doesn't fit the Arrow type that the first rows "
            "gave it; cast the column to text"
        ) from None  # the cause's words may hold the value
