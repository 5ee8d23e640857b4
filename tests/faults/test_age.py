"""No connection outlives its age, however idle the service is."""

import asyncio

import pytest

from tests.fixtures.bouncer import KINDS, run_own_bouncer, show
from tests.fixtures.servers import Upstream
from tests.fixtures.service import Client, assert_nothing_left, observe, poll, run_client

NAME = "pgsidecar-age"
POOL = {"size": 3, "overflow": 2, "max_age_s": 1}


def serve(upstream: Upstream, **pool: float):
    named = {"dsn": upstream.dsn, "application_name": NAME}
    return run_client(upstream, upstream=named, pool={**POOL, **pool})


@pytest.mark.parametrize("idle_s", [0, 60])
async def test_idle_service_lets_go_of_every_connection(servers, idle_s):
    upstream = servers.upstream("postgres")
    async with serve(upstream, idle_s=idle_s) as client:
        await fill(client)
        await poll(lambda: has_no_backend(upstream), "a connection outlives its age")
        await assert_replaced(client, upstream)


@pytest.mark.parametrize("kind", KINDS)
async def test_idle_service_lets_go_of_every_connection_to_pgbouncer(servers, kind):
    with run_own_bouncer(servers, kind) as upstream:
        async with serve(upstream) as client:
            await fill(client)
            await poll(lambda: has_no_client(upstream), "a connection outlives its age")
            await assert_replaced(client, upstream)


async def test_age_opens_no_connection(servers):
    """Neither for those that it closes, nor for those that were closed before."""
    upstream = servers.upstream("postgres")
    async with serve(upstream, overflow=0) as client:
        await fill(client)
        opened = await count(client, "connection_opened")
        await poll(lambda: has_retired(client, opened), "a connection outlives its age")
        client.service.upstream.connected.reaper.retire_idle()  # once more, when there is none
        assert await count(client, "connection_opened") == opened
        assert await count(client, "connection_retired") == opened


async def fill(client: Client) -> None:
    """Ask for more at once than there are connections."""
    await asyncio.gather(*(client.value("select pg_sleep(0.05)") for _ in range(6)))


async def assert_replaced(client: Client, upstream: Upstream) -> None:
    """The next requests get new connections, and notice nothing."""
    await fill(client)
    assert await count(client, "request_failed") == 0
    await assert_nothing_left(client, upstream)


async def has_no_backend(upstream: Upstream) -> bool:
    async with observe(upstream) as observer:
        sql = "select count(*) from pg_stat_activity where application_name = $1"
        return await observer.fetchval(sql, NAME) == 0


async def has_no_client(upstream: Upstream) -> bool:
    return await show(upstream, "CLIENTS") == []


async def has_retired(client: Client, connections: int) -> bool:
    return await count(client, "connection_retired") >= connections


async def count(client: Client, event: str) -> int:
    return (await client.operations("/stats")).json["events"][event]["count"]
