"""Postgres goes away, or takes a backend away: directly, and behind PgBouncer."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from proxy.dev.pgbouncer import LocalPgBouncer
from proxy.dev.postgres import EmbeddedPostgres
from proxy.engine.deadline import Deadline
from proxy.engine.flight import build_flight
from proxy.errors import UpstreamUnavailable
from proxy.wire.answer import Discard
from tests.fixtures.backend_message import error
from tests.fixtures.bouncer import KINDS, start_busy
from tests.fixtures.lane import poll_until
from tests.fixtures.servers import (
    Upstream,
    describe_pgbouncer,
    describe_postgres,
    find_binary,
    find_kind,
    find_postgres_15,
    run_postgres,
)
from tests.fixtures.service import (
    OUR_NAME,
    Client,
    Reply,
    assert_nothing_left,
    observe,
    poll,
    run_client,
)
from tests.fixtures.tcp_proxy import TcpProxy

if TYPE_CHECKING:
    import asyncpg

POOL = {"size": 3, "overflow": 0}
LIMITS = {"server_login_retry": "1", "query_wait_timeout": "1"}
BEYOND_THE_START = 30  # flights
OURS = f"application_name = '{OUR_NAME}'"
FULL = "limited"  # a role, and PgBouncer's database for it


@pytest.fixture(scope="module")
def own_servers(home: Path) -> Iterator[dict[str, EmbeddedPostgres]]:
    """Two Postgres that nobody else uses."""
    with (
        run_postgres(home / "backend-loss") as newest,
        run_postgres(home / "backend-loss-15", find_postgres_15()) as oldest,
    ):
        yield {"postgres": newest, "postgres-15": oldest}


@pytest.fixture(params=["postgres", "postgres-15", *KINDS])
def place_name(request) -> str:
    return request.param


@pytest.fixture
def server(place_name: str, own_servers: dict[str, EmbeddedPostgres]) -> EmbeddedPostgres:
    """The Postgres that a test may stop."""
    return own_servers.get(place_name, own_servers["postgres"])


@pytest.fixture
def place(place_name: str, server: EmbeddedPostgres) -> Iterator[Upstream]:
    """What the service connects to: that Postgres, or a PgBouncer in front of it."""
    if place_name.startswith("postgres"):
        yield describe_postgres(server)
        return
    kind = find_kind(place_name)
    options = {**kind.options, **LIMITS}
    forced = {FULL: f"dbname=app user={FULL}"}
    with LocalPgBouncer(
        find_binary(kind.version), server.port, kind.pool_mode, options, forced
    ) as bouncer:
        yield describe_pgbouncer(bouncer, kind, server)


async def test_while_postgres_is_away_nothing_is_executed_and_it_comes_back_by_itself(
    server, place
):
    async with run_client(place, pool=POOL) as client:
        assert await values(client) == [42] * 6
        server.__exit__(None, None, None)
        try:
            for reply in await asyncio.gather(*(client.query("select 1") for _ in range(6))):
                assert_not_executed(reply)
            assert (await client.operations("/ready")).status == 503
        finally:
            server.__enter__()
        await poll(lambda: is_ready(client), "it doesn't recover")
        assert await values(client) == [42] * 6
        await assert_nothing_left(client, place)


async def test_statement_under_way_when_postgres_stops_may_have_been_executed(server, place):
    async with run_client(place, pool=POOL) as client:
        running = await start_busy(client, place)
        server.__exit__(None, None, None)
        server.__enter__()
        assert_unknown(await running)
        await poll(lambda: is_ready(client), "it doesn't recover")
        await assert_nothing_left(client, place)


async def test_end_of_idle_backends_is_invisible(place):
    async with run_client(place, pool=POOL) as client:
        assert await values(client) == [42] * 6
        idle = [connection for _, connection in client.service.upstream.connected.lanes._idle]
        await terminate(place, f"{OURS} and state = 'idle'")
        if place.kind == "postgres":
            await poll_until(lambda: all(connection.lane.is_lost for connection in idle))
        assert await values(client) == [42] * 6
        events = (await client.operations("/stats")).json["events"]
        assert events["request_failed"]["count"] == 0
        await assert_nothing_left(client, place)


async def test_lane_that_the_server_has_taken_leave_of_is_lent_no_more(place):
    """Its end can be read some time before that of the connection."""
    deadline = Deadline.after(5)
    async with run_client(place, pool=POOL) as client:
        lanes = client.service.upstream.connected.lanes
        async with lanes.lease(deadline) as connection:
            connection.lane.data_received(error("FATAL", "57P01", "terminating connection"))
            assert not connection.is_clean


async def test_statement_whose_backend_ends_may_have_been_executed(place):
    async with run_client(place, pool=POOL) as client:
        running = await start_busy(client, place)
        await terminate(place, f"{OURS} and state = 'active'")
        assert_unknown(await running)
        assert await values(client) == [42] * 6
        await assert_nothing_left(client, place)


async def test_connection_that_is_lost_before_the_statement_is_sent_executes_nothing(place):
    deadline = Deadline.after(5)
    async with run_client(place, pool=POOL) as client:
        lanes = client.service.upstream.connected.lanes
        async with lanes.lease(deadline) as connection:
            connection.lane.abort()
            await poll_until(lambda: connection.lane.is_lost)
            with pytest.raises(UpstreamUnavailable) as lost:
                await connection.run(build_flight(b"select 1"), Discard(), deadline)
        assert (lost.value.phase, lost.value.executed) == ("execute", "no")  # so it's sent again
        await assert_nothing_left(client, place)


async def test_start_gets_over_a_loss_at_any_of_its_flights(place):
    for flights in range(BEYOND_THE_START):
        await start_with_a_cut(place, flights)


async def test_start_gets_over_a_loss_in_its_connect_hooks(server):
    place, session = describe_postgres(server), {"settings": {"app.tenant": "acme"}}
    for flights in range(BEYOND_THE_START):
        await start_with_a_cut(place, flights, session=session)


async def start_with_a_cut(place: Upstream, flights: int, **sections: dict) -> None:
    """Start a service whose connections are cut once, as that many flights have begun."""
    async with TcpProxy("127.0.0.1", place.port) as proxy, asyncio.TaskGroup() as group:
        cutting = group.create_task(cut_at(proxy, flights))
        dsn = f"postgresql://app@127.0.0.1:{proxy.port}/app?sslmode=disable"
        async with run_client(dsn, pool=POOL, **sections) as client:
            cutting.cancel()
            await poll(lambda: is_ready(client), "it doesn't start")


async def cut_at(proxy: TcpProxy, flights: int) -> None:
    while proxy.count_flights() < flights:  # noqa: ASYNC110  # a flight is shorter than any wait
        await asyncio.sleep(0)
    proxy.cut()


async def test_server_that_is_full_at_the_start_is_told_and_over_by_itself(place):
    async with limit_role(place, 0) as (dsn, observer), run_client(dsn, pool=POOL) as client:
        assert_not_executed(await client.query("select 1"))
        await assert_recovers(client, place, observer)


async def test_server_that_becomes_full_executes_nothing(place):
    async with limit_role(place, 10) as (dsn, observer), run_client(dsn, pool=POOL) as client:
        assert await values(client) == [42] * 6
        await observer.execute(f"alter role {FULL} connection limit 0")
        await terminate(place, f"usename = '{FULL}'")
        for reply in await asyncio.gather(*(client.query("select 1") for _ in range(6))):
            assert_not_executed(reply)
        await assert_recovers(client, place, observer)


async def assert_recovers(client: Client, place: Upstream, observer: "asyncpg.Connection") -> None:
    await observer.execute(f"alter role {FULL} connection limit 10")
    await poll(lambda: is_ready(client), "it doesn't recover")
    assert await values(client) == [42] * 6
    await assert_nothing_left(client, place)


@asynccontextmanager
async def limit_role(
    place: Upstream, connections: int
) -> AsyncIterator[tuple[str, "asyncpg.Connection"]]:
    """A role of that many connections; yields its DSN, and a superuser's connection."""
    async with observe(place) as observer:
        await observer.execute(f"create role {FULL} login connection limit {connections}")
        try:
            if place.kind == "postgres":
                yield place.dsn.replace("//app@", f"//{FULL}@"), observer
            else:
                yield f"{place.dsn.removesuffix('app')}{FULL}", observer
        finally:
            await observer.execute(f"drop role {FULL}")


async def terminate(place: Upstream, whose: str) -> None:
    """End backends by a condition on pg_stat_activity, and wait until these are gone."""
    async with observe(place) as observer:
        sql = f"select pid, pg_terminate_backend(pid) from pg_stat_activity where {whose}"
        ended = [pid for pid, _ in await observer.fetch(sql)]

        async def are_gone() -> bool:  # whoever had them may have new ones already
            sql = "select count(*) from pg_stat_activity where pid = any($1)"
            return await observer.fetchval(sql, ended) == 0

        await poll(are_gone, "a backend stays")


def assert_not_executed(reply: Reply) -> None:
    assert (reply.status, reply.json["executed"]) == (503, "no"), reply.json
    assert reply.json["retryable"]
    assert "Retry-After" in reply.headers


def assert_unknown(reply: Reply) -> None:
    assert (reply.status, reply.json["executed"]) == (503, "unknown"), reply.json
    assert not reply.json["retryable"]
    assert "Retry-After" not in reply.headers


async def values(client: Client) -> list[int]:
    """Ask for more at once than there are connections."""
    return await asyncio.gather(*(client.value("select 42") for _ in range(6)))


async def is_ready(client: Client) -> bool:
    return (await client.operations("/ready")).status == 200
