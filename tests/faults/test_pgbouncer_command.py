"""What an administrator tells PgBouncer, and that the service goes on by itself."""

import asyncio

import pytest

from tests.fixtures.bouncer import KINDS, SESSION_KINDS, command, run_own_bouncer, show, start_busy
from tests.fixtures.servers import Upstream
from tests.fixtures.service import (
    Client,
    assert_nothing_left,
    poll,
    run_client,
)

pytestmark = pytest.mark.parametrize("kind", KINDS)
POOL = {"size": 3, "overflow": 0}
BRIEF = {**POOL, "max_age_s": 1}  # a session pool is paused when its last client has left


async def test_pause_within_the_wait_is_only_latency(servers, kind):
    with run_own_bouncer(servers, kind) as upstream:
        async with run_client(upstream, pool=BRIEF) as client:
            await command(upstream, "PAUSE app")
            running = asyncio.ensure_future(client.query("select 7 as n"))
            await poll(lambda: is_queued(upstream), "the statement doesn't reach PgBouncer")
            await command(upstream, "RESUME app")
            reply = await running
            assert (reply.status, reply.json["rows"]) == (200, [{"n": 7}])
            assert await failures(client) == 0
            await assert_nothing_left(client, upstream)


async def test_pause_beyond_the_wait_is_told_and_over_with_resume(servers, kind):
    with run_own_bouncer(servers, kind, query_wait_timeout="1") as upstream:
        async with run_client(upstream, pool=BRIEF) as client:
            await command(upstream, "PAUSE app")
            for reply in await asyncio.gather(*(client.query("select 1") for _ in range(6))):
                assert (reply.status, reply.json["executed"]) == (503, "no")
                assert reply.json["retryable"]
            await command(upstream, "RESUME app")
            assert await values(client) == [42] * 6
            await assert_nothing_left(client, upstream)


async def test_ready_says_whether_a_statement_can_run(servers, kind):
    with run_own_bouncer(servers, kind) as upstream:
        async with run_client(upstream, pool=BRIEF) as client:
            assert (await client.operations("/ready")).status == 200
            await command(upstream, "PAUSE app")
            paused = await client.operations("/ready")
            # a session pool lets nobody in before RESUME; the others let the statement wait
            title = "pool_timeout" if kind in SESSION_KINDS else "upstream_unavailable"
            assert (paused.status, paused.json["title"]) == (503, title)
            await command(upstream, "RESUME app")
            assert (await client.operations("/ready")).status == 200
            await assert_nothing_left(client, upstream)


@pytest.mark.parametrize("word", ["RECONNECT", "RELOAD"])
async def test_new_server_connections_and_configurations_are_invisible(servers, kind, word):
    with run_own_bouncer(servers, kind) as upstream:
        async with run_client(upstream, pool=POOL) as client:
            running = await start_busy(client, upstream)
            await command(upstream, word)
            assert await values(client) == [42] * 6
            assert (await running).status == 200
            assert await failures(client) == 0
            await assert_nothing_left(client, upstream)


async def test_kill_leaves_open_what_became_of_a_running_statement(servers, kind):
    with run_own_bouncer(servers, kind) as upstream:
        async with run_client(upstream, pool=POOL) as client:
            running = await start_busy(client, upstream)
            await command(upstream, "KILL app")
            reply = await running
            assert reply.status == 503
            assert "database removed" in reply.json["detail"]
            assert (reply.json["executed"], reply.json["retryable"]) == ("unknown", False)
            await command(upstream, "RESUME app")
            await assert_nothing_left(client, upstream)


async def test_kill_of_idle_connections_is_invisible(servers, kind):
    with run_own_bouncer(servers, kind) as upstream:
        async with run_client(upstream, pool=POOL) as client:
            assert await values(client) == [42] * 6
            await command(upstream, "KILL app", "RESUME app")
            assert await values(client) == [42] * 6
            assert await failures(client) == 0
            await assert_nothing_left(client, upstream)


async def test_disable_concerns_only_new_connections(servers, kind):
    with run_own_bouncer(servers, kind) as upstream:
        async with run_client(upstream, pool=POOL) as client:
            await command(upstream, "DISABLE app")
            assert await values(client) == [42] * 6
            assert await failures(client) == 0


async def test_disabled_database_serves_again_once_it_is_enabled(servers, kind):
    with run_own_bouncer(servers, kind) as upstream:
        await command(upstream, "DISABLE app")
        async with run_client(upstream, pool=POOL) as client:
            refused = await client.query("select 1")
            assert (refused.status, refused.json["executed"]) == (503, "no")
            assert "is disabled" in refused.json["detail"]
            await command(upstream, "ENABLE app")
            await poll(lambda: is_ready(client), "it doesn't recover")
            assert await values(client) == [42] * 6
            await assert_nothing_left(client, upstream)


async def values(client: Client) -> list[int]:
    """Ask for more at once than there are connections."""
    return await asyncio.gather(*(client.value("select 42") for _ in range(6)))


async def failures(client: Client) -> int:
    return (await client.operations("/stats")).json["events"]["request_failed"]["count"]


async def is_queued(upstream: Upstream) -> bool:
    return any(row["cl_waiting"] == "1" for row in await show(upstream, "POOLS"))


async def is_ready(client: Client) -> bool:
    return (await client.operations("/ready")).status == 200
