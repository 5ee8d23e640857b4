"""Flights per point query: what a peer sends before it waits, counted on the wire."""

import asyncio

from benchmarks.measure import Measure
from benchmarks.peer import Kind, Target, run_peer
from benchmarks.roster import CORE, NODE, RECIPE, SIDECAR
from benchmarks.session import Session
from benchmarks.statement import select_user
from tests.fixtures.tcp_proxy import TcpProxy

_WARM_UP = 50  # queries, until every peer has opened its connections and knows the types
_COUNTED = 100
_DEADLINE_S = 60.0


def measure_flights(session: Session) -> None:
    """Flights and messages of one query, through a forwarder that reads along."""
    for kind in (SIDECAR, RECIPE, CORE, NODE):
        if session.takes(kind.name):
            figures = asyncio.run(_count(session, kind))
            session.add(Measure("flights", "point query", kind.name, 0, figures))


async def _count(session: Session, kind: Kind) -> dict[str, float]:
    async with TcpProxy("127.0.0.1", session.database.port) as proxy:
        target = Target(session.database.address(proxy.port), pool_size=1)
        return await asyncio.wait_for(asyncio.to_thread(_ask, kind, target, proxy), _DEADLINE_S)


def _ask(kind: Kind, target: Target, proxy: TcpProxy) -> dict[str, float]:
    """Ask one after the other; runs in a thread beside the forwarder's loop."""
    with run_peer(kind, target) as peer:
        for number in range(_WARM_UP):
            peer.query(select_user(1 + number))
        since = proxy.mark()
        for number in range(_COUNTED):
            peer.query(select_user(1 + number))
        messages = [one for one in proxy.messages[since:] if one.direction == "client"]
        return {
            "flights": proxy.count_flights(since) / _COUNTED,
            "messages": len(messages) / _COUNTED,
        }
