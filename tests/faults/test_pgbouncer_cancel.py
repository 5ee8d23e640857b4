"""Cancels at the moment of completion, while others work on the same two server connections."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from proxy.engine import connection as connection_module
from proxy.engine.deadline import Deadline
from proxy.engine.flight import build_flight
from proxy.engine.lane_pool import LanePool
from proxy.errors import DeadlineExceeded
from proxy.wire.answer import Discard
from proxy.wire.cancel import cancel_statement
from tests.fixtures.servers import (
    BOUNCERS,
    OTHER_BOUNCERS,
    Servers,
    Upstream,
    describe_pgbouncer,
    find_kind,
    run_pgbouncer,
)
from tests.fixtures.service import Client, assert_nothing_left, run_client

POOL = {"size": 2, "overflow": 0}  # fewer than clients, so that lanes go from one to another
CANCELS = 500
ATTACKERS = 2
SLOW_S = 0.003
BRIEF = build_flight(b"select pg_sleep(0.001)")
INNOCENT = "select 1 from pg_sleep(0.003)"
SHARED = [name for name in (*BOUNCERS, *OTHER_BOUNCERS) if "session" not in name]


@pytest.fixture(params=SHARED)
def place(request, servers: Servers) -> Iterator[Upstream]:
    """A PgBouncer that serves nobody else."""
    kind, postgres = find_kind(request.param), servers.postgres()
    with run_pgbouncer(kind, postgres) as bouncer:
        yield describe_pgbouncer(bouncer, kind, postgres)


async def test_no_innocent_statement_dies(place):
    async with run_client(place, pool=POOL) as client:
        outcomes, deaths = await attack(place, client)
        assert deaths == 0
        assert sum(outcomes.values()) >= CANCELS
        assert min(outcomes["cancelled"], outcomes["too late"]) > 0, outcomes
        await assert_nothing_left(client, place)


async def test_innocents_die_where_nobody_waits_for_the_end_of_the_cancel(place, monkeypatch):
    async def cancel_slowly(lane):
        await asyncio.sleep(SLOW_S)
        await cancel_statement(lane)

    async with asyncio.TaskGroup() as cancels:

        async def cancel_without_waiting(lane):
            cancels.create_task(cancel_slowly(lane))

        monkeypatch.setattr(connection_module, "cancel_statement", cancel_without_waiting)
        async with run_client(place, pool=POOL) as client:
            _, deaths = await attack(place, client)
            assert deaths > 0


async def attack(place: Upstream, client: Client) -> tuple[Counter[str], int]:
    """Cancel 500 statements as they end; what became of them, and how many others died."""
    lanes = client.service.upstream.connected.lanes
    outcomes: Counter[str] = Counter()
    stop = asyncio.Event()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        stranger = await asyncpg.connect(place.dsn, statement_cache_size=0)
        stack.push_async_callback(stranger.close)
        asking = [lambda: is_served(client)] * 2 + [lambda: is_alive(stranger)]
        innocents = [group.create_task(count_deaths(stop, ask)) for ask in asking]
        await asyncio.gather(*(cancel_at_the_end(lanes, outcomes) for _ in range(ATTACKERS)))
        stop.set()
        return outcomes, sum([await innocent for innocent in innocents])


async def cancel_at_the_end(lanes: LanePool, outcomes: Counter[str]) -> None:
    """Set deadlines for the very end: later after one too early, earlier after one too late."""
    brief_s = 0.002
    while sum(outcomes.values()) < CANCELS:
        async with lanes.lease(Deadline.after(5)) as connection:
            try:
                await connection.run(BRIEF, Discard(), Deadline.after(brief_s))
            except DeadlineExceeded:
                outcomes["cancelled"] += 1
                brief_s *= 1.05
                continue
            if connection._cancelling is None:
                brief_s *= 0.95
            else:
                outcomes["too late"] += 1


async def count_deaths(stop: asyncio.Event, ask) -> int:
    deaths = 0
    while not stop.is_set():
        deaths += not await ask()
    return deaths


async def is_served(client: Client) -> bool:
    return (await client.query(INNOCENT)).status == 200


async def is_alive(stranger: "asyncpg.Connection") -> bool:
    try:
        return await stranger.fetchval(INNOCENT) == 1
    except asyncpg.QueryCanceledError:
        return False
