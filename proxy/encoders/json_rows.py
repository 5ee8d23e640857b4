"""The buffered answer of a query: one JSON document around encoded rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson

from proxy.encoders.row_encoder import Column, RowEncoder, RowShape
from proxy.sql.types import SqlType
from proxy.wire.messages import Field, ServerMessage


@dataclass(slots=True)  # a frozen one takes three times as long to make
class Outcome:
    """What is said about a statement beside its rows, in the order of the document."""

    row_count: int
    command: str | None
    truncated: bool
    notices: Sequence[ServerMessage]
    elapsed_ms: float | None  # None where statements of a batch can't be told apart


def encode_head(columns: Sequence[Column]) -> bytes:
    """Encode the beginning of a document, up to its first row."""
    return b'{"columns":' + orjson.dumps(columns) + b',"rows":['


def find_end_of_rows(body: bytes) -> int:
    """Find where the rows of a document end, and what differs from time to time begins."""
    return body.rindex(b'],"row_count":')  # in a notice its quotes would be escaped


class AnswerEncoder:
    """Encodes whole answers with the rows of one RowDescription."""

    def __init__(
        self, fields: Sequence[Field], types: Mapping[int, SqlType], shape: RowShape
    ) -> None:
        rows = RowEncoder(fields, types, shape._replace(before=b","))
        self._head = encode_head(rows.columns)
        self._encode_rows = rows.encode

    def encode(self, messages: bytes, outcome: Outcome) -> bytes:
        """Encode the document around a run of complete DataRow messages.

        Raises:
            EncodingFailed: they hold text that isn't UTF-8, or can't be read at all.
        """
        rows = self._encode_rows(messages)[1:]  # without the comma before the first
        return b"".join((self._head, rows, b"],", orjson.dumps(outcome)[1:]))
