"""Start-up time, to the first good answer, and resident memory before there is any load."""

import time

from benchmarks.measure import Measure
from benchmarks.peer import Target, run_peer
from benchmarks.process import read_resident_bytes
from benchmarks.roster import CORE, HELLO, NODE, POOL_SIZE, RECIPE, SIDECAR
from benchmarks.session import Session

_SETTLE_S = 0.5  # connections that are opened in the background
_MIB = 2**20


def measure_start(session: Session) -> None:
    """Start each of them anew in each round."""
    target = Target(session.database.dsn, POOL_SIZE)
    for number in range(1 if session.is_quick else session.rounds):
        for kind in (SIDECAR, RECIPE, CORE, NODE, HELLO):
            if not session.takes(kind.name):
                continue
            with run_peer(kind, target) as peer:
                time.sleep(_SETTLE_S)
                rest_mib = read_resident_bytes(peer.pid) / _MIB
                figures = {"start_s": peer.start_s, "rest_mib": rest_mib}
            session.add(Measure("start", "start", kind.name, number, figures))
