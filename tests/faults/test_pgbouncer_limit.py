"""PgBouncer's own limits: what is told of the statement, and that the service goes on by itself."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from tests.fixtures.batch import batch
from tests.fixtures.bouncer import (
    KINDS,
    SESSION_KINDS,
    SHARED_KINDS,
    hold_server,
    run_own_bouncer,
    show,
)
from tests.fixtures.servers import Upstream
from tests.fixtures.service import Client, Reply, assert_nothing_left, poll, run_client

everywhere = pytest.mark.parametrize("kind", KINDS)
shared = pytest.mark.parametrize("kind", SHARED_KINDS)
POOL = {"size": 3, "overflow": 0}


@shared
async def test_statement_is_sent_once_more_after_query_wait_timeout(servers, kind):
    limits = {"default_pool_size": "1", "query_wait_timeout": "1"}
    with run_own_bouncer(servers, kind, **limits) as upstream:
        async with run_client(upstream, pool=POOL) as client:
            async with hold_server(upstream):
                running = asyncio.ensure_future(client.query("select 7 as n"))
                await poll(lambda: has_lost_one(client), "PgBouncer lets it wait")
            reply = await running
            assert (reply.status, reply.json["rows"]) == (200, [{"n": 7}])
            await assert_recovered(client, upstream)


@shared
@pytest.mark.parametrize("mode", ["atomic", "separate"])
async def test_batch_is_sent_once_more_after_query_wait_timeout(servers, kind, mode):
    limits = {"default_pool_size": "1", "query_wait_timeout": "1"}
    with run_own_bouncer(servers, kind, **limits) as upstream:
        async with run_client(upstream, pool=POOL) as client:
            async with hold_server(upstream):
                running = asyncio.ensure_future(batch(client, "select 7 as n", mode=mode))
                await poll(lambda: has_lost_one(client), "PgBouncer lets it wait")
            reply = await running
            assert reply.json["results"][0]["rows"] == [{"n": 7}]
            await assert_recovered(client, upstream)


@shared
async def test_statement_that_waits_in_vain_twice_may_be_sent_again_later(servers, kind):
    limits = {"default_pool_size": "1", "query_wait_timeout": "1"}
    with run_own_bouncer(servers, kind, **limits) as upstream:
        async with run_client(upstream, pool=POOL) as client:
            async with hold_server(upstream):
                reply = await client.query("select 1")
            assert_not_executed(reply, "query_wait_timeout")
            await assert_recovered(client, upstream)


@shared
async def test_statement_over_its_deadline_in_pgbouncers_queue_costs_its_lane(servers, kind):
    with run_own_bouncer(servers, kind, default_pool_size="1") as upstream:
        async with run_client(upstream, pool=POOL) as client:
            async with hold_server(upstream):
                started = time.monotonic()
                reply = await client.query("select 1", timeout_ms=300)
                assert time.monotonic() - started < 2.3
            assert (reply.status, reply.json["title"]) == (504, "deadline_exceeded")
            assert reply.json["executed"] in {"no", "unknown"}
            await assert_recovered(client, upstream)
            assert await count(client, "connection_discarded") == 1


@pytest.mark.parametrize("kind", SESSION_KINDS)
async def test_session_pool_without_a_free_server_executes_nothing(servers, kind):
    limits = {"default_pool_size": "3", "query_wait_timeout": "1"}
    with run_own_bouncer(servers, kind, **limits) as upstream:
        async with AsyncExitStack() as stack, AsyncExitStack() as others:
            for _ in range(3):
                await others.enter_async_context(hold_server(upstream))
            client = await stack.enter_async_context(run_client(upstream, pool=POOL))
            assert_not_executed(await client.query("select 1"), "query_wait_timeout")
            await others.aclose()
            await poll(lambda: is_serving(client), "it doesn't recover")
            await assert_recovered(client, upstream)


@everywhere
async def test_fewer_connections_than_wanted_serve_everybody(servers, kind):
    with run_own_bouncer(servers, kind, max_client_conn="3") as upstream:
        async with run_client(upstream, pool={"size": 8, "overflow": 0}) as client:
            sleeps = (client.query("select pg_sleep(0.01)") for _ in range(50))
            assert {reply.status for reply in await asyncio.gather(*sleeps)} == {200}
            assert 0 < await count(client, "connect_failed") < 25
            await assert_recovered(client, upstream)


@everywhere
async def test_service_that_gets_no_connection_serves_once_there_is_one(servers, kind):
    with run_own_bouncer(servers, kind, max_client_conn="2") as upstream:
        async with AsyncExitStack() as stack, AsyncExitStack() as others:
            for _ in range(2):
                await others.enter_async_context(hold_server(upstream))
            client = await stack.enter_async_context(run_client(upstream, pool=POOL))
            assert_not_executed(await client.query("select 1"), "max_client_conn")
            await others.aclose()
            await poll(lambda: is_serving(client), "it doesn't recover")
            await assert_recovered(client, upstream)


@everywhere
async def test_query_timeout_leaves_open_what_became_of_the_statement(servers, kind):
    with run_own_bouncer(servers, kind, query_timeout="1") as upstream:
        async with run_client(upstream, pool=POOL) as client:
            reply = await client.query("select pg_sleep(2)")
            assert reply.status == 503
            assert "query timeout" in reply.json["detail"]
            assert (reply.json["executed"], reply.json["retryable"]) == ("unknown", False)
            assert "Retry-After" not in reply.headers
            await assert_recovered(client, upstream)


@shared
async def test_client_idle_timeout_is_invisible(servers, kind):
    with run_own_bouncer(servers, kind, client_idle_timeout="1") as upstream:
        async with run_client(upstream, pool={**POOL, "idle_s": 60}) as client:
            await poll(lambda: has_no_client(upstream), "our idle connections stay open")
            await assert_recovered(client, upstream)
            assert await count(client, "request_failed") == 0


def assert_not_executed(reply: Reply, reason: str) -> None:
    assert reply.status == 503
    assert reason in reply.json["detail"]
    assert (reply.json["executed"], reply.json["retryable"]) == ("no", True)
    assert "Retry-After" in reply.headers


async def assert_recovered(client: Client, upstream: Upstream) -> None:
    assert await client.value("select 42") == 42
    await assert_nothing_left(client, upstream)


async def is_serving(client: Client) -> bool:
    return (await client.query("select 1")).status == 200


async def has_no_client(upstream: Upstream) -> bool:
    return await show(upstream, "CLIENTS") == []


async def count(client: Client, event: str) -> int:
    return (await client.operations("/stats")).json["events"][event]["count"]


async def has_lost_one(client: Client) -> bool:
    return await count(client, "connection_discarded") == 1
