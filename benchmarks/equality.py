"""Whether everybody gives the same answer: else some would be measured on less work."""

import csv
import io
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from benchmarks.peer import Peer, PeerFailed
from benchmarks.statement import Statement

_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d")
_BOOLEANS = {"t": True, "true": True, "f": False, "false": False}
_FLOAT_DIGITS = 12  # languages differ in the last digits of a double

Row = list[Any]  # Any: whatever JSON has


def check_answers(peers: Sequence[Peer], statements: Sequence[Statement]) -> None:
    """Compare the rows that the peers answer with.

    Raises:
        PeerFailed: somebody's differ from the first one's.
    """
    for statement in statements:
        compare({peer.name: _list_cells(peer.query(statement)) for peer in peers})


def check_streams(peers: Sequence[Peer], statement: Statement) -> None:
    """Compare the rows that the peers stream, in every format.

    Raises:
        PeerFailed: somebody's differ from the first one's.
    """
    streams: dict[str, list[Row]] = {}
    for peer in peers:
        for name, path in peer.kind.stream_paths.items():
            text = peer.ask(path, statement).decode()
            streams[f"{peer.name} {name}"] = read_csv(text) if name == "csv" else _read_lines(text)
    compare(streams)


def read_csv(text: str) -> list[Row]:
    """Read the rows of a CSV document with a header."""
    return [[_simplify(cell) for cell in row] for row in csv.reader(io.StringIO(text))][1:]


def _read_lines(text: str) -> list[Row]:
    documents = [json.loads(line) for line in text.splitlines()]
    bodies = [one for one in documents if not one.keys() & {"meta", "end"}]
    return _list_cells([one.get("row", one) for one in bodies])


def _list_cells(rows: Sequence[dict[str, Any]]) -> list[Row]:  # Any: whatever JSON has
    return [[_simplify(cell) for cell in row.values()] for row in rows]


def compare(answers: dict[str, list[Row]]) -> None:
    """Hold everybody's rows against the first one's.

    Raises:
        PeerFailed: there are more or fewer, or a value differs.
    """
    (first, expected), *others = answers.items()
    for name, rows in others:
        if len(rows) != len(expected):
            raise PeerFailed(f"{first} has {len(expected)} rows, {name} {len(rows)}")
        for ours, theirs in zip(expected, rows, strict=True):
            if ours != theirs:
                raise PeerFailed(f"{first} answers {ours}, {name} {theirs}")


def _simplify(cell: Any) -> Any:  # Any: whatever JSON has
    """Bring a cell to one form: drivers differ in what they write as a string."""
    if isinstance(cell, bool):
        return cell
    if cell in (None, ""):
        return None  # CSV writes NULL as nothing, and the data have no empty text
    if isinstance(cell, int | float):
        return _round(cell)
    if _NUMBER.fullmatch(cell):
        return _round(cell)
    if _TIMESTAMP.match(cell):
        return datetime.fromisoformat(cell).astimezone(UTC)
    return _BOOLEANS.get(cell, cell)


def _round(number: float | str) -> Decimal:
    """Round to as many digits as every double has in every language."""
    return Decimal(f"{Decimal(str(number)):.{_FLOAT_DIGITS}g}").normalize()
