"""Cancelled statements: they end, and nobody else's does."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from proxy.engine import connection as connection_module
from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.flight import build_flight
from proxy.engine.upstream import Upstream
from proxy.errors import DeadlineExceeded
from proxy.stats.counters import Counters
from proxy.stats.events import Event
from proxy.wire.answer import Discard
from proxy.wire.cancel import cancel_statement
from proxy.wire.rowset import RowSet
from tests.fixtures.lane import poll_until
from tests.fixtures.servers import BOUNCERS
from tests.fixtures.service import build_settings
from tests.fixtures.tcp_proxy import TcpProxy

ROUNDS = 500
FEW_ROUNDS = 50
BRIEF_S = 0.001
SLOW_S = 0.003
AT_ONCE = build_flight(b"select pg_sleep(0.001)")
INNOCENT = build_flight(b"select 1 from pg_sleep(0.015)")  # long enough for a late cancel to hit
ENDLESS = build_flight(b"select pg_sleep(60)")
LONG = build_flight(b"select pg_sleep(3)")  # for what nobody can cancel


@asynccontextmanager
async def start(dsn, **pool):
    """The engine and the queue of the service, with one connection."""
    counters = Counters()
    settings = build_settings(dsn, pool={"size": 1, "overflow": 0, "idle_s": 60, **pool})
    upstream = Upstream(settings, counters.count)
    await upstream.start()
    try:
        yield upstream.connected.lanes, counters.tallies
    finally:
        await upstream.close()


async def count_victims(lanes, rounds):
    """Let deadlines pass as statements end; returns how many of the following statements die.

    A deadline that comes too early or too late for that makes the next one come later or earlier.
    """
    brief_s, victims = BRIEF_S, 0
    for _ in range(rounds):
        brief_s *= await meet_deadline(lanes, brief_s)
        victims += not await survives(lanes)
    return victims


async def meet_deadline(lanes, brief_s):
    async with lanes.lease(Deadline.after(5)) as connection:
        try:
            await connection.run(AT_ONCE, Discard(), Deadline.after(brief_s))
        except DeadlineExceeded:
            return 1.05
        return 0.95 if connection._cancelling is None else 1


async def survives(lanes):
    deadline = Deadline.after(5)
    async with lanes.lease(deadline) as connection:
        try:
            answer = await connection.run(INNOCENT, Discard(), deadline)
        except DeadlineExceeded:
            return False
        return answer.error is None


async def cancel_slowly(lane):
    """Have the cancel arrive when the statement has ended, as a slow network does."""
    await asyncio.sleep(SLOW_S)
    await cancel_statement(lane)


@pytest.mark.parametrize("name", ["postgres", "postgres-15", *BOUNCERS])
async def test_cancel_at_the_moment_of_the_end_never_hits_the_next_statement(servers, name):
    async with start(servers.upstream(name).dsn) as (lanes, tallies):
        assert await count_victims(lanes, ROUNDS) == 0
        assert tallies[Event.STATEMENT_CANCELLED].count > ROUNDS / 2
        assert tallies[Event.CONNECTION_DISCARDED].count == 0


@pytest.mark.matrix
async def test_late_cancel_never_hits_the_next_statement(upstream, monkeypatch):
    monkeypatch.setattr(connection_module, "cancel_statement", cancel_slowly)
    async with start(upstream.dsn) as (lanes, tallies):
        assert await count_victims(lanes, FEW_ROUNDS) == 0
        assert tallies[Event.STATEMENT_CANCELLED].count > FEW_ROUNDS / 2
        assert tallies[Event.CONNECTION_DISCARDED].count == 0


async def test_innocents_die_where_nobody_waits_for_the_end_of_the_cancel(upstream, monkeypatch):
    async with asyncio.TaskGroup() as cancels, start(upstream.dsn) as (lanes, _):

        async def cancel_without_waiting(lane):
            cancels.create_task(cancel_slowly(lane))

        monkeypatch.setattr(connection_module, "cancel_statement", cancel_without_waiting)
        assert await count_victims(lanes, FEW_ROUNDS) > 0


async def test_innocents_die_where_a_lane_is_lent_while_its_cancel_is_under_way(
    upstream, monkeypatch
):
    def is_clean(connection):
        connection._cancelling = None
        return not (connection.lane.is_busy or connection.lane.is_lost)

    monkeypatch.setattr(connection_module, "cancel_statement", cancel_slowly)
    monkeypatch.setattr(UpstreamConnection, "is_clean", property(is_clean))
    async with start(upstream.dsn) as (lanes, _):
        assert await count_victims(lanes, FEW_ROUNDS) > 0


@pytest.mark.matrix
async def test_statement_over_its_deadline_did_not_take_effect(upstream):
    async with start(upstream.dsn) as (lanes, _):
        deadline = Deadline.after(0.05)
        async with lanes.lease(deadline) as connection:
            with pytest.raises(DeadlineExceeded) as exceeded:
                await connection.run(ENDLESS, Discard(), deadline)
    assert exceeded.value.executed == "no"
    assert exceeded.value.context["sqlstate"] == "57014"


async def test_cancel_takes_the_unix_socket_that_the_lane_took(postgres):
    socket = f"host={postgres.data_dir / '18'}&port={postgres.port}"
    dsn = f"postgresql://app@/app?{socket}"
    async with start(dsn) as (lanes, _), lanes.lease(Deadline.after(5)) as connection:
        with pytest.raises(DeadlineExceeded) as exceeded:
            await connection.run(ENDLESS, Discard(), Deadline.after(0.05))
    assert exceeded.value.executed == "no"


@pytest.mark.matrix
async def test_request_that_goes_away_frees_its_connection(upstream):
    async with start(upstream.dsn) as (lanes, tallies):
        request = asyncio.create_task(run_endless(lanes))
        await poll_until(lambda: lanes.gauges()["in_use"] == 1)
        request.cancel()
        await asyncio.wait([request])
        assert await survives(lanes)
        assert tallies[Event.STATEMENT_CANCELLED].count == 1
        assert tallies[Event.CONNECTION_OPENED].count == 1


async def run_endless(lanes, timeout_s=60):
    deadline = Deadline.after(timeout_s)
    async with lanes.lease(deadline) as connection:
        await connection.run(ENDLESS, Discard(), deadline)


@pytest.mark.blocks
async def test_transaction_that_a_request_leaves_open_is_rolled_back(upstream):
    async with start(upstream.dsn) as (lanes, tallies):
        async with lanes.lease(Deadline.after(5)) as connection:
            await connection.lane.send_query("begin; create table left_behind ()", Discard())
        rows = RowSet()
        async with lanes.lease(Deadline.after(5)) as connection:
            look = build_flight(b"select to_regclass('left_behind') is null")
            await connection.run(look, rows, Deadline.after(5))
        assert rows.rows == [(b"t",)]
        assert tallies[Event.CONNECTION_OPENED].count == 1


@pytest.mark.matrix
async def test_cancel_that_comes_before_its_statement_is_sent_again(upstream):
    async with (
        TcpProxy("127.0.0.1", upstream.port) as proxy,
        start(f"postgresql://app@127.0.0.1:{proxy.port}/app?sslmode=disable") as (lanes, tallies),
    ):
        assert await survives(lanes)
        proxy.hold_statements()
        running = asyncio.create_task(run_endless(lanes, 0.05))
        await poll_until(lambda: proxy.cancels_total >= 1)
        proxy.resume()
        with pytest.raises(DeadlineExceeded) as exceeded:
            await running
        assert exceeded.value.executed == "no"
        assert await survives(lanes)
        assert tallies[Event.CONNECTION_DISCARDED].count == 0


async def test_connection_whose_cancel_is_refused_is_dropped(upstream):
    async with (
        TcpProxy("127.0.0.1", upstream.port) as proxy,
        start(f"postgresql://app@127.0.0.1:{proxy.port}/app?sslmode=disable") as (lanes, tallies),
    ):
        proxy.refuse()
        async with lanes.lease(Deadline.after(5)) as connection:
            with pytest.raises(DeadlineExceeded) as exceeded:
                await connection.run(LONG, Discard(), Deadline.after(0.05))
        assert exceeded.value.executed == "unknown"
        await proxy.accept()
        assert await survives(lanes)
        assert tallies[Event.CONNECTION_DISCARDED].count == 1
