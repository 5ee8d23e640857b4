"""The buffered answer of a query: one JSON document around encoded rows."""

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from proxy.encoders.row_encoder import Column
from proxy.wire.messages import ServerMessage


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is said about a statement beside its rows, in the order of the document."""

    row_count: int
    command: str | None
    truncated: bool
    notices: Sequence[ServerMessage]
    elapsed_ms: float


def encode_answer(columns: Sequence[Column], rows: bytes, outcome: Outcome) -> bytes:
    """Put rows, encoded and joined by commas, into the document that answers a query."""
    head = b'{"columns":' + orjson.dumps(columns) + b',"rows":['
    return b"".join((head, rows, b"],", orjson.dumps(outcome)[1:]))
