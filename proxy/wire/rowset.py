"""A small answer, held as rows of cells: for our own questions to the server."""

from proxy.wire.messages import (
    DATA_ROW,
    HEADER_BYTES,
    INT2,
    INT4,
    Field,
    parse_row_description,
)


class RowSet:
    """A sink that keeps every row, its cells as bytes in text format."""

    def __init__(self) -> None:
        self.fields: tuple[Field, ...] = ()
        self.rows: list[tuple[bytes | None, ...]] = []

    def describe(self, description: bytes | None) -> None:
        """Keep the columns."""
        if description is not None:
            self.fields = parse_row_description(description)

    def feed_rows(self, data: bytes, start: int) -> int:
        """Keep the rows."""
        position, size = start, len(data)
        while size - position >= HEADER_BYTES and data[position] == DATA_ROW:
            end = position + 1 + INT4.unpack_from(data, position + 1)[0]
            if end > size or end < position + HEADER_BYTES:
                break
            self.rows.append(parse_data_row(data[position + HEADER_BYTES : end]))
            position = end
        return position

    def skip_row(self) -> None:
        """Pass over a row that is too large to be an answer of ours."""


def parse_data_row(body: bytes) -> tuple[bytes | None, ...]:
    """Parse the body of a DataRow."""
    (count,) = INT2.unpack_from(body)
    cells: list[bytes | None] = []
    position = INT2.size
    for _ in range(count):
        (length,) = INT4.unpack_from(body, position)
        position += INT4.size
        if length < 0:
            cells.append(None)
            continue
        cells.append(body[position : position + length])
        position += length
    return tuple(cells)
