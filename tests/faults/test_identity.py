"""Another server answers at the same address: it's seen, and served from, without a restart."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.fixtures.servers import Servers, Upstream
from tests.fixtures.service import Client, Reply, assert_nothing_left, observe, poll, run_client
from tests.fixtures.tcp_proxy import TcpProxy

SESSION = {"time_zone": "Asia/Tokyo", "settings": {"app.tenant": "acme", "search_path": "app"}}
ASK = (
    "select current_setting('TimeZone') as zone, current_setting('search_path') as path,"
    " current_setting('app.tenant', true) as tenant"
)
RIGHT = [{"zone": "Asia/Tokyo", "path": "app", "tenant": "acme"}]
EXCHANGES = (
    ("postgres", "postgres-15"),
    ("postgres", "transaction"),
    ("transaction", "postgres-15"),
    ("postgres-15", "statement"),
    ("statement", "postgres"),
)


class Switch(TcpProxy):
    """An address behind which the server can be exchanged."""

    def lead_to(self, upstream: Upstream) -> None:
        """Lead new connections to another server."""
        self._target = ("127.0.0.1", upstream.port)

    async def is_left(self, upstream: Upstream) -> bool:
        """Whether no connection to this server is open."""
        return all(
            writer.get_extra_info("peername")[1] != upstream.port for writer in self._writers
        )


@pytest.fixture(params=EXCHANGES, ids="-to-".join)
def exchange(request, servers: Servers) -> tuple[Upstream, Upstream]:
    """The server before and after."""
    before, after = request.param
    return servers.upstream(before), servers.upstream(after)


@asynccontextmanager
async def serve(before: Upstream) -> AsyncIterator[tuple[Switch, Client]]:
    async with Switch("127.0.0.1", before.port) as switch:
        dsn = f"postgresql://app@127.0.0.1:{switch.port}/app?sslmode=disable"
        pool = {"size": 4, "overflow": 0, "max_age_s": 3600}
        async with run_client(dsn, pool=pool, session=SESSION) as client:
            assert await serves_from(client, before)
            yield switch, client


async def test_exchange_of_the_server_needs_no_other_change(exchange):
    before, after = exchange
    async with serve(before) as (switch, client):
        switch.lead_to(after)
        switch.cut()
        await poll(lambda: is_right(client), "it doesn't serve from the new server")
        assert await serves_from(client, after)
        assert (await stats(client))["session"]["app.tenant"] == delivery(after)
        await assert_nothing_left(client, after)


async def test_exchange_under_load_costs_nothing_that_was_executed(exchange):
    before, after = exchange
    async with serve(before) as (switch, client), asyncio.TaskGroup() as group:
        stop = asyncio.Event()
        workers = [group.create_task(ask_until(stop, client)) for _ in range(2)]
        await poll(lambda: has_answered(client), "it doesn't serve from the old server")
        switch.lead_to(after)
        workers += [group.create_task(ask_until(stop, client)) for _ in range(4)]  # so it connects
        try:
            await poll(lambda: serves_from(client, after), "it doesn't see the new server")
            await poll(lambda: switch.is_left(before), "connections to the old server stay")
        finally:
            stop.set()
        replies = [reply for worker in workers for reply in await worker]
        assert [reply.json for reply in replies if not is_right_or_transient(reply)] == []
        assert await is_right(client)
        await assert_nothing_left(client, after)


async def has_answered(client: Client) -> bool:
    return (await stats(client))["events"]["rows_sent"]["count"] > 0


async def ask_until(stop: asyncio.Event, client: Client) -> list[Reply]:
    replies = []
    while not stop.is_set():
        replies.append(await client.query(ASK))
    return replies


def is_right_or_transient(reply: Reply) -> bool:
    if reply.status == 200:
        return reply.json["rows"] == RIGHT
    return reply.status == 503 and reply.json["executed"] == "no" and reply.json["retryable"]


async def is_right(client: Client) -> bool:
    """Whether a request is served; if so, with the configured session."""
    reply = await client.query(ASK)
    assert is_right_or_transient(reply), reply.json
    return reply.status == 200


async def stats(client: Client) -> dict:
    return (await client.operations("/stats")).json


async def serves_from(client: Client, upstream: Upstream) -> bool:
    """Whether the profile is that of this server."""
    async with observe(upstream) as observer:
        version = await observer.fetchval("show server_version")
    profile = (await stats(client))["upstream"]
    found = (profile["kind"], profile["pool_mode"], profile["server_version"])
    return found == (upstream.kind, upstream.pool_mode, version)


def delivery(upstream: Upstream) -> str:
    return "connect hook" if upstream.kind == "postgres" else "flight"
