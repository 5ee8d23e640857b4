"""Requests over and over: the point query and a page of 100 rows, directly and behind PgBouncer."""

from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.database import run_bouncer
from benchmarks.equality import check_answers
from benchmarks.load import Load, run_load
from benchmarks.measure import Measure
from benchmarks.peer import Peer
from benchmarks.roster import CORE, HELLO, NODE, RECIPE, SIDECAR, TYPED
from benchmarks.scenarios.pgbench import PROTOCOLS, run_pgbench
from benchmarks.session import Session
from benchmarks.statement import Statement, select_user, walk_pages, walk_users

_WARM_UP_S = 0.5
_WARM_UP_QUICK_S = 0.3
_DIFFERENT = 500  # requests, sent in turn
_CHECKED = 5
_MANY_CLIENTS = 16
_CLIENTS = (1, _MANY_CLIENTS, 64)
_QUICK_CLIENTS = (_MANY_CLIENTS,)
_USUAL_BYTES = 500
_DATABASE_KINDS = (SIDECAR, RECIPE, TYPED, CORE, NODE)


def measure_point(session: Session) -> None:
    """One row by its key, at several numbers of clients, and the floors on both sides."""
    users = list(walk_users(_DIFFERENT))
    with (
        session.run(_DATABASE_KINDS) as asked,
        session.run([HELLO], body_bytes=_size(asked)) as rest,
    ):
        check_answers(asked, users[:_CHECKED])
        peers = [*asked, *rest]
        for clients in _QUICK_CLIENTS if session.is_quick else _CLIENTS:
            for number in range(session.rounds):
                for peer in peers:
                    _measure(session, ("point", _name_case(clients)), number, peer, clients, users)
                for protocol in PROTOCOLS:
                    _measure_floor(session, number, protocol, clients)


def measure_page(session: Session) -> None:
    """A hundred rows of eight columns."""
    with session.run(_DATABASE_KINDS) as peers:
        _measure_case(
            session, "page", _name_case(_MANY_CLIENTS), peers, list(walk_pages(_DIFFERENT))
        )


def measure_bouncer(session: Session) -> None:
    """Both through PgBouncer in transaction mode, whose pool is as large as ours."""
    with run_bouncer(session.database) as dsn, session.run(_DATABASE_KINDS, dsn) as peers:
        _measure_case(session, "bouncer", "point query", peers, list(walk_users(_DIFFERENT)))
        _measure_case(session, "bouncer", "100 rows × 8", peers, list(walk_pages(_DIFFERENT)))


def _measure_case(
    session: Session, scenario: str, case: str, peers: Sequence[Peer], asked: Sequence[Statement]
) -> None:
    check_answers(peers, asked[:_CHECKED])
    for number in range(session.rounds):
        for peer in peers:
            _measure(session, (scenario, case), number, peer, _MANY_CLIENTS, asked)


def _measure(
    session: Session,
    place: tuple[str, str],
    number: int,
    peer: Peer,
    clients: int,
    asked: Sequence[Statement],
) -> None:
    requests = [peer.build_request(peer.kind.query_path, one) for one in asked]
    warm_up_s = _WARM_UP_QUICK_S if session.is_quick else _WARM_UP_S
    load = Load(peer.port, peer.pid, clients, warm_up_s, session.measure_s, requests)
    session.add(Measure(*place, peer.name, number, asdict(run_load(load))))


def _measure_floor(session: Session, number: int, protocol: str, clients: int) -> None:
    name = f"pgbench {protocol}"
    if session.takes(name):
        figures = run_pgbench(session.database, protocol, clients, session.measure_s)
        session.add(Measure("point", _name_case(clients), name, number, figures))


def _size(peers: Sequence[Peer]) -> int:
    """Size of the first one's answer."""
    return next((len(one.ask(one.kind.query_path, select_user(1))) for one in peers), _USUAL_BYTES)


def _name_case(clients: int) -> str:
    return f"{clients} client{'s' if clients > 1 else ''}"
