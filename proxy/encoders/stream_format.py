"""The formats of a stream: how each begins, goes on, ends well, and fails."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import orjson

from proxy.encoders.csv_rows import CsvEncoder
from proxy.encoders.json_rows import Outcome, encode_head
from proxy.encoders.negotiation import FormatName
from proxy.encoders.row_encoder import RowEncoder, RowShape
from proxy.sql.types import SqlType
from proxy.wire.messages import Field

if TYPE_CHECKING:
    from proxy.encoders.arrow import ArrowEncoder

NDJSON = "application/x-ndjson"
Types = Mapping[int, SqlType]


@dataclass(frozen=True, slots=True)
class StreamWish:
    """What a request wants its stream to look like."""

    format: FormatName
    shape: RowShape
    is_bare: bool = False  # NDJSON: rows alone
    null: bytes = b""  # CSV
    has_header: bool = True  # CSV

    @property
    def ends_in_band(self) -> bool:
        """Whether the format itself says that it's complete, or why not.

        Else only the end of a chunked body says so.
        """
        return self.format == "json" or (self.format == "ndjson" and not self.is_bare)


class StreamFormat(Protocol):
    """One stream in its format; every method returns the bytes to send next."""

    content_type: str

    def head(self, first: bytes) -> bytes:
        """Begin; `first` are the DataRow messages that are there already, not to be sent yet."""

    def rows(self, messages: bytes) -> bytes:
        """Encode a run of complete DataRow messages.

        Raises:
            EncodingFailed: they can't be told in this format.
        """

    def ping(self) -> bytes:
        """Show that the stream lives, where the format has a way to."""

    def end(self, outcome: Outcome) -> bytes:
        """End in success."""

    def fail(self, problem: bytes, row_count: int) -> bytes:
        """End in failure, where the format has a way to: a JSON document says what happened."""


def open_format(
    wish: StreamWish, fields: Sequence[Field], types: Types, request_id: str
) -> StreamFormat:
    """Make the format for one stream."""
    if wish.format == "csv":
        return _Csv(CsvEncoder(fields, types, wish.null), has_header=wish.has_header)
    if wish.format == "arrow":
        from proxy.encoders.arrow import ArrowEncoder  # noqa: PLC0415  # its library is an extra

        return _Arrow(ArrowEncoder(fields, types))
    if wish.format == "json":
        return _Json(RowEncoder(fields, types, wish.shape._replace(before=b",")))
    if wish.is_bare:
        return _BareNdjson(RowEncoder(fields, types, wish.shape._replace(after=b"\n")))
    shape = wish.shape._replace(before=b'{"row":', after=b"}\n")
    return _Ndjson(RowEncoder(fields, types, shape), request_id)


class _OutOfBand:
    """A format without words for anything but rows: it fails by the missing end of its body."""

    def ping(self) -> bytes:
        return b""

    def end(self, _outcome: Outcome) -> bytes:
        return b""

    def fail(self, _problem: bytes, _row_count: int) -> bytes:
        return b""


class _BareNdjson(_OutOfBand):
    content_type = NDJSON

    def __init__(self, encoder: RowEncoder) -> None:
        self.rows = encoder.encode

    def head(self, _first: bytes) -> bytes:
        return b""


class _Csv(_OutOfBand):
    content_type = "text/csv; charset=utf-8"

    def __init__(self, encoder: CsvEncoder, *, has_header: bool) -> None:
        self._header = encoder.header() if has_header else b""
        self.rows = encoder.encode

    def head(self, _first: bytes) -> bytes:
        return self._header


class _Arrow(_OutOfBand):
    content_type = "application/vnd.apache.arrow.stream"

    def __init__(self, encoder: "ArrowEncoder") -> None:
        self._encoder = encoder
        self.head, self.rows = encoder.head, encoder.encode

    def end(self, _outcome: Outcome) -> bytes:
        return self._encoder.end()


class _Ndjson:
    content_type = NDJSON

    def __init__(self, encoder: RowEncoder, request_id: str) -> None:
        self._meta = {"columns": encoder.columns, "request_id": request_id}
        self.rows = encoder.encode

    def head(self, _first: bytes) -> bytes:
        return orjson.dumps({"meta": self._meta}) + b"\n"

    def ping(self) -> bytes:
        return b'{"ping":{}}\n'

    def end(self, outcome: Outcome) -> bytes:
        return orjson.dumps({"end": outcome}) + b"\n"

    def fail(self, problem: bytes, _row_count: int) -> bytes:
        return b'{"error":' + problem + b"}\n"


class _Json:
    content_type = "application/json"

    def __init__(self, encoder: RowEncoder) -> None:
        self._encoder = encoder
        self._skipped = 1  # no comma before the first row

    def head(self, _first: bytes) -> bytes:
        return encode_head(self._encoder.columns)

    def rows(self, messages: bytes) -> bytes:
        encoded = self._encoder.encode(messages)[self._skipped :]
        self._skipped = 0
        return encoded

    def ping(self) -> bytes:
        return b" "

    def end(self, outcome: Outcome) -> bytes:
        return b"]," + orjson.dumps({**asdict(outcome), "error": None})[1:]

    def fail(self, problem: bytes, row_count: int) -> bytes:
        return b'],"row_count":%d,"error":%b}' % (row_count, problem)
