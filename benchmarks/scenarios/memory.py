"""Resident memory while streams run: many rows, and a slow reader."""

from benchmarks.measure import Measure
from benchmarks.peer import Peer, PeerFailed
from benchmarks.reader import Reading, run_reading
from benchmarks.roster import SIDECAR
from benchmarks.scenarios.stream import FORMATS, measure_one
from benchmarks.session import Session
from benchmarks.statement import MIXED_ROWS, select_rows

_FEW_ROWS = 1_000_000
_SLOW_BYTES_PER_S = 1_000_000.0
_SLOW_S = 20.0
_SLOW_QUICK_S = 3.0
_MIB = 2**20


def measure_memory(session: Session) -> None:
    """Peak of a fresh service for 1 M rows, and what 4 M rows and a slow reader add to it."""
    for number in range(1 if session.is_quick else session.rounds):
        for name in FORMATS:
            with session.run([SIDECAR]) as peers:
                for peer in peers:
                    _measure_format(session, peer, name, number)


def _measure_format(session: Session, peer: Peer, name: str, number: int) -> None:
    label = f"{peer.name} {name}"
    few = measure_one(peer, name, _FEW_ROWS)
    session.add(Measure("memory", "1 M rows", label, number, few))
    many = measure_one(peer, name, MIXED_ROWS)
    slow = _read_slowly(peer, name, _SLOW_QUICK_S if session.is_quick else _SLOW_S)
    for case, figures in (("4 M rows", many), ("reader of 1 MB/s", slow)):
        figures["growth_mib"] = figures["peak_mib"] - few["peak_mib"]
        session.add(Measure("memory", case, label, number, figures))


def _read_slowly(peer: Peer, name: str, give_up_s: float) -> dict[str, float]:
    """Read for some time and hang up; the rate is checked, for else memory says nothing."""
    request = peer.build_request(peer.kind.stream_paths[name], select_rows(MIXED_ROWS))
    result = run_reading(Reading(peer.port, peer.pid, request, _SLOW_BYTES_PER_S, give_up_s))
    rate = result.body_bytes / result.elapsed_s
    if result.is_complete or not 0.5 < rate / _SLOW_BYTES_PER_S < 1.5:
        raise PeerFailed(f"{peer.name} gives a slow reader {rate:.0f} bytes a second")
    return {
        "mib_per_s": rate / _MIB,
        "before_mib": result.before_bytes / _MIB,
        "peak_mib": result.peak_bytes / _MIB,
        "after_mib": result.after_bytes / _MIB,
    }
