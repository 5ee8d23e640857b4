"""What PgBouncer does to our connections, found out by using them: no right and no console needed.

Source: docs/explanation/pgbouncer.md, which says why the ways that look simpler don't work.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from struct import pack
from typing import Literal

import asyncpg

from proxy.engine.driver import Driver
from proxy.engine.sqlstate import lost_error
from proxy.wire.answer import Discard
from proxy.wire.lane import ConnectionLost, Lane
from proxy.wire.messages import SYNC, Flight

PoolMode = Literal["session", "transaction", "statement"]

QUEUE_S = 1.5  # a second connection that waits longer is in PgBouncer's queue
# A twice first: a round robin over two servers looks private to A, B, A, B. While others work there
# it's all chance, and 8 answers of two servers look private once in 128 times: so three rounds.
_ORDER = "AABBABAB" * 3
_BACKEND = "select pg_catalog.pg_backend_pid()"
_NO_BLOCKS = "transaction blocks not allowed"
_QUEUE_OVER = "query_wait_timeout"
_DESCRIBE_UNKNOWN = Flight(b"D" + pack("!i", 21) + b"Spgsidecar_probe\0" + SYNC)
_UNKNOWN_TO_PGBOUNCER = "prepared statement did not exist"


@dataclass(frozen=True, slots=True)
class ModeProbe:
    """A pool mode; statement and transaction are proven, session is what is left."""

    pool_mode: PoolMode
    seen: str


async def probe_pool_mode(
    first: Driver, open_second: Callable[[], AbstractAsyncContextManager[Driver]]
) -> ModeProbe:
    """Find out when PgBouncer gives a server connection away; uses `first` up in statement mode.

    Raises:
        TimeoutError: the pool is so busy that nobody is served.
    """
    if await _refuses_begin(first):
        return ModeProbe("statement", "BEGIN is refused")
    async with open_second() as second:
        return await _compare_servers(first, second)


async def probe_tracking(connection: Driver, max_message_bytes: int) -> bool:
    """Whether PgBouncer keeps track of prepared statements, so that they outlive the server.

    Then it answers for a statement that doesn't exist itself, and closes `connection`; else the
    server does. One flight, and no statement is left anywhere.

    Raises:
        UpstreamUnavailable: the connection was lost for another reason.
    """
    lane = Lane(connection, max_message_bytes)
    try:
        await lane.send(_DESCRIBE_UNKNOWN, Discard())
    except ConnectionLost as lost:
        if lost.message is None or lost.message.message != _UNKNOWN_TO_PGBOUNCER:
            raise lost_error(lost) from lost
        return True
    finally:
        lane.hand_back()
    return False


def is_shared(answers: Iterable[tuple[str, int]]) -> bool:
    """Whether pairs of client and server prove sharing.

    They do when a client has met two servers, or a server two clients.
    """
    pairs = set(answers)
    clients = {client for client, _ in pairs}
    servers = {server for _, server in pairs}
    return not len(pairs) == len(clients) == len(servers)


async def _refuses_begin(connection: Driver) -> bool:
    """Whether it's a statement pool, which closes the connection at BEGIN."""
    try:
        await connection.execute("BEGIN")
    except asyncpg.PostgresError as error:
        if _NO_BLOCKS in str(error):
            return True
        raise
    await connection.execute("ROLLBACK")
    return False


async def _compare_servers(first: Driver, second: Driver) -> ModeProbe:
    answers: list[tuple[str, int]] = []
    for client in _ORDER:
        if client == "A":
            server = await first.fetchval(_BACKEND)
        else:
            server = await _ask_or_queue(second, first)
        if server is None:
            return ModeProbe("session", "a second connection got no server of its own in time")
        answers.append((client, server))
        if is_shared(answers):
            return ModeProbe("transaction", "connections share servers")
    return ModeProbe("session", "two connections kept a server each")


async def _ask_or_queue(second: Driver, first: Driver) -> int | None:
    """Ask `second` for its server; None if it's queued while `first` is served.

    It goes on waiting meanwhile: PgBouncer serves in order of arrival, so `first` can get past it
    only by a server that it has kept.
    """
    asking: asyncio.Future[int] = asyncio.ensure_future(second.fetchval(_BACKEND))
    try:
        done, _ = await asyncio.wait([asking], timeout=QUEUE_S)
        if done and not _was_queued_out(asking):
            return asking.result()
        async with asyncio.timeout(QUEUE_S):
            await first.fetchval(_BACKEND)
        return None
    finally:
        if not asking.done():
            second.terminate()
            await asyncio.wait([asking])


def _was_queued_out(asking: "asyncio.Future[int]") -> bool:
    """Whether PgBouncer's own limit came first and closed the connection."""
    return _QUEUE_OVER in str(asking.exception() or "")
