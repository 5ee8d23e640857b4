"""The body of a bulk load as what COPY takes, in pieces."""

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from proxy.errors import InvalidRequest, RequestTooLarge
from proxy.query.copy_csv import CsvSource, find_record_end, read_names
from proxy.query.copy_ndjson import NdjsonSource, read_members
from proxy.query.copy_order import CopyOrder

HEADER_BYTES = 64 * 1024  # of CSV: 1600 columns of 40 bytes
UNMARKED_SINCE = 180000  # the server's version that takes `\.` in CSV for data


class CopySource(Protocol):
    """A body in its format; `options` stand behind COPY's WITH."""

    columns: tuple[str, ...]
    options: str

    def encode(self, piece: bytes) -> bytes:
        """Turn the next piece of the body into data; it may keep an unfinished line.

        Raises:
            InvalidRequest, RequestTooLarge
        """

    def finish(self) -> bytes:
        """End the body: the last of the data."""


async def open_source(
    order: CopyOrder, pieces: AsyncIterator[bytes], server_version_num: int, max_line_bytes: int
) -> tuple[CopySource, bytes]:
    """Make the source, reading as much of the body as it takes to know the columns.

    Returns what has been read, to be encoded first.

    Raises:
        InvalidRequest, RequestTooLarge: there are no names where they should be.
    """
    if order.format == "ndjson":
        first, end = b"", 0
        if not order.columns:
            first, end = await _read_line(pieces, _find_line_end, max_line_bytes)
        return NdjsonSource(order.columns or read_members(first[:end]), max_line_bytes), first
    first, columns = b"", order.columns
    if order.has_header and not columns:
        first, end = await _read_line(pieces, find_record_end, HEADER_BYTES)
        columns = read_names(first[:end], "the first line")
    has_end_mark = server_version_num < UNMARKED_SINCE
    return (
        CsvSource(columns, order.null, has_header=order.has_header, has_end_mark=has_end_mark),
        first,
    )


async def _read_line(
    pieces: AsyncIterator[bytes], find_end: Callable[[bytes], int], max_bytes: int
) -> tuple[bytes, int]:
    """Read until the first line is complete; returns what has come, and where that line ends."""
    data = b""
    async for piece in pieces:
        data += piece
        end = find_end(data)
        if end:
            return data, end
        if len(data) > max_bytes:
            raise RequestTooLarge(f"the first line has more than {max_bytes} bytes")
    if not data:
        raise InvalidRequest("the body is empty; its first line says which columns it has")
    return data, len(data)


def _find_line_end(data: bytes) -> int:
    return data.find(b"\n") + 1
