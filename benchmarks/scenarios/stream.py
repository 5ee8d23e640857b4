"""A million rows as they come: NDJSON and CSV, against what others stream and psql's copy."""

import json

from benchmarks.equality import check_streams
from benchmarks.measure import Measure
from benchmarks.peer import Peer, PeerFailed
from benchmarks.reader import Reading, ReadingResult, run_reading
from benchmarks.roster import CACHE, CORE, NODE, RECIPE, SIDECAR
from benchmarks.scenarios.psql import copy_out
from benchmarks.session import Session
from benchmarks.statement import select_rows

ROWS = 1_000_000
CASE = "1 M rows × 8"
FORMATS = ("ndjson", "csv")
_ROWS_OF = {"recipe": 100_000, "core": 250_000}  # the slow ones: rows/s don't depend on it
_ROWS_OF_QUICK = {"recipe": 30_000, "core": 100_000, "node": 250_000}
_CHECKED_ROWS = 1000
_ENVELOPE_LINES = {"ndjson": 2, "csv": 1}  # ours: meta and end, or the header


def measure_stream(session: Session) -> None:
    """Rows per second, CPU per row, first byte and memory."""
    with session.run((SIDECAR, RECIPE, CORE, NODE)) as peers:
        check_streams(peers, select_rows(_CHECKED_ROWS))
        for number in range(session.rounds):
            for peer in peers:
                rows = _choose_rows(session, peer.name)
                for name in peer.kind.stream_paths:
                    figures = measure_one(peer, name, rows)
                    session.add(Measure("stream", CASE, _label(peer, name), number, figures))
            if session.takes("psql"):
                sql = select_rows(ROWS).sql
                figures = copy_out(session.database, sql, CACHE / "out.csv", ROWS)
                session.add(Measure("stream", CASE, "psql csv", number, figures))


def measure_one(peer: Peer, format_name: str, rows: int) -> dict[str, float]:
    """Read one stream to its end, as fast as it comes; checks that it has all of its rows."""
    request = peer.build_request(peer.kind.stream_paths[format_name], select_rows(rows))
    result = run_reading(Reading(peer.port, peer.pid, request))
    _check(peer, format_name, rows, result)
    return {
        "rows": rows,
        "rows_per_s": rows / result.elapsed_s,
        "cpu_us": result.cpu_s / rows * 1e6,
        "first_byte_ms": result.first_byte_s * 1e3,
        "mib_per_s": result.body_bytes / result.elapsed_s / 2**20,
        "before_mib": result.before_bytes / 2**20,
        "peak_mib": result.peak_bytes / 2**20,
        "after_mib": result.after_bytes / 2**20,
        "client_cpu_share": result.client_cpu_share,
    }


def _choose_rows(session: Session, peer: str) -> int:
    return (_ROWS_OF_QUICK if session.is_quick else _ROWS_OF).get(peer, ROWS)


def _label(peer: Peer, format_name: str) -> str:
    return f"{peer.name} {format_name}"


def _check(peer: Peer, format_name: str, rows: int, result: ReadingResult) -> None:
    extra = _ENVELOPE_LINES[format_name] if peer.kind is SIDECAR else 0
    is_whole = result.is_complete and result.lines == rows + extra
    if is_whole and extra and format_name == "ndjson":
        end = json.loads(result.tail.splitlines()[-1]).get("end", {})
        is_whole = end.get("row_count") == rows
    if not is_whole:
        raise PeerFailed(
            f"{peer.name} streams {result.lines} lines instead of {rows + extra}: {result.tail}"
        )
