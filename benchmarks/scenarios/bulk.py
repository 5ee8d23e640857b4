r"""A million rows of CSV into a table, against psql's \copy; and a body of 1 GB."""

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from benchmarks.measure import Measure
from benchmarks.peer import Peer, PeerFailed
from benchmarks.roster import CACHE, SIDECAR
from benchmarks.scenarios.psql import copy_in, copy_out
from benchmarks.sender import Sending, SendingResult, run_sending
from benchmarks.session import Missing, Session
from benchmarks.statement import select_rows

ROWS = 1_000_000
CASE = "1 M rows × 8"
_TABLE = "loaded"
_PATH = f"/v1/copy/{_TABLE}"
_GB = 1_000_000_000
_MIB = 2**20
_PROBE_DEADLINE_S = 10.0


def measure_bulk(session: Session) -> None:
    """Rows per second from a file into an empty table without an index."""
    with _write_file(session) as file, session.run([SIDECAR]) as peers:
        for number in range(session.rounds):
            for peer in peers:
                figures = _describe(_load(session, peer, file, times=1))
                session.add(Measure("bulk", CASE, f"{peer.name} csv", number, figures))
            if session.takes("psql"):
                _empty(session)
                figures = copy_in(session.database, _TABLE, file, ROWS)
                session.add(Measure("bulk", CASE, "psql csv", number, figures))
        _empty(session)


def measure_body(session: Session) -> None:
    """Memory of the service while it takes a body of 1 GB, over that of one a tenth as long."""
    with _write_file(session) as file, session.run([SIDECAR]) as peers:
        times = -(-_GB // file.stat().st_size)
        for peer in peers:
            short = _describe(_load(session, peer, file, times=1))
            session.add(Measure("body", "1 M rows", f"{peer.name} csv", 0, short))
            long = _describe(_load(session, peer, file, times=times))
            long["growth_mib"] = long["peak_mib"] - short["peak_mib"]
            session.add(Measure("body", "1 GB", f"{peer.name} csv", 0, long))
        _empty(session)


@contextmanager
def _write_file(session: Session) -> Iterator[Path]:
    """Write a million rows to a file of CSV with a header, and remove it in the end."""
    file = CACHE / "rows.csv"
    copy_out(session.database, select_rows(ROWS).sql, file, ROWS)
    try:
        yield file
    finally:
        file.unlink()


def _load(session: Session, peer: Peer, file: Path, times: int) -> SendingResult:
    if not _is_there(peer):
        raise Missing(f"{peer.name} has no POST {_PATH}.")
    _empty(session)
    result = run_sending(Sending(peer.port, peer.pid, _PATH, str(file), times))
    count = int(session.database.run_sql(f"select count(*) from {_TABLE}"))
    if not count == result.row_count == ROWS * times:
        raise PeerFailed(f"{peer.name} loads {count} rows, and says {result.row_count}")
    return result


def _is_there(peer: Peer) -> bool:
    """Whether the service knows the path; a body without rows loads nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", peer.port, timeout=_PROBE_DEADLINE_S)
    try:
        connection.request("POST", _PATH, b"id\n", {"Content-Type": "text/csv"})
        return connection.getresponse().status != HTTPStatus.NOT_FOUND
    finally:
        connection.close()


def _empty(session: Session) -> None:
    session.database.run_sql(f"truncate {_TABLE}")


def _describe(result: SendingResult) -> dict[str, float]:
    return {
        "rows": result.row_count,
        "rows_per_s": result.row_count / result.elapsed_s,
        "mib_per_s": result.body_bytes / result.elapsed_s / _MIB,
        "cpu_us": result.cpu_s / result.row_count * 1e6,
        "before_mib": result.before_bytes / _MIB,
        "peak_mib": result.peak_bytes / _MIB,
        "after_mib": result.after_bytes / _MIB,
        "client_cpu_share": result.client_cpu_share,
    }
