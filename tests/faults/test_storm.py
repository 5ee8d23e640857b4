"""Many more requests than connections: order, bounds, and nothing left behind."""

import asyncio

import pytest

from proxy.engine.deadline import Deadline
from proxy.wire.answer import Discard
from tests.fixtures.servers import Upstream
from tests.fixtures.service import Client, assert_nothing_left, poll, run_client

POOL = {"size": 4, "overflow": 0, "queue_size": 5000, "checkout_timeout_s": 60}


async def test_connections_are_lent_in_order_of_arrival(upstream: Upstream):
    async with run_client(upstream, pool=POOL) as client:
        lanes = client.service.upstream.connected.lanes
        order = []

        async def borrow(number: int) -> None:
            async with lanes.lease(Deadline.after(30)) as connection:
                order.append(number)
                await connection.lane.send_query("select 1", Discard())

        await asyncio.gather(*(borrow(number) for number in range(500)))
        assert order == list(range(500))


async def test_a_full_queue_refuses_at_once(upstream: Upstream):
    pool = {"size": 1, "overflow": 0, "queue_size": 1}
    async with run_client(upstream, pool=pool) as client:
        running = asyncio.ensure_future(client.query("select pg_sleep(1)"))
        await poll(lambda: _pool_has(client, in_use=1), "the first request doesn't run")
        waiting = asyncio.ensure_future(client.query("select 1"))
        await poll(lambda: _pool_has(client, waiters=1), "the second request doesn't wait")
        refused = await client.query("select 1")
        assert refused.status == 429
        assert refused.json["title"] == "queue_full"
        assert refused.json["executed"] == "no"
        assert "Retry-After" in refused.headers
        assert [(await reply).status for reply in (running, waiting)] == [200, 200]


async def test_a_connection_that_can_be_opened_needs_no_place_in_the_queue(upstream: Upstream):
    async with run_client(upstream, pool={"size": 2, "overflow": 0, "queue_size": 0}) as client:
        replies = await asyncio.gather(*(client.query("select pg_sleep(0.1)") for _ in range(3)))
        assert sorted(reply.status for reply in replies) == [200, 200, 429]


async def test_a_request_that_waits_too_long_gets_503(upstream: Upstream):
    pool = {"size": 1, "overflow": 0, "checkout_timeout_s": 0.05}
    async with run_client(upstream, pool=pool) as client:
        running = asyncio.ensure_future(client.query("select pg_sleep(1)"))
        await poll(lambda: _pool_has(client, in_use=1), "the first request doesn't run")
        late = await client.query("select 1")
        assert late.status == 503
        assert late.json["title"] == "pool_timeout"
        assert late.json["phase"] == "queue"
        assert (await running).status == 200


@pytest.mark.timeout(300)
async def test_two_thousand_requests_with_disconnects_and_timeouts(upstream: Upstream):
    async with run_client(upstream, pool=POOL) as client:
        wrong = await asyncio.gather(*(_ask(client, number) for number in range(2000)))
        assert [answer for answer in wrong if answer is not None] == []
        await assert_nothing_left(client, upstream)
        assert (await client.pool())["max_in_use"] == 4
        assert await client.value("select 42") == 42


async def _ask(client: Client, number: int) -> str | None:
    """Send one of four kinds of requests; returns what was wrong with its answer."""
    kind = number % 4
    if kind == 3:
        return await _ask_and_go_away(client, number)
    sql = ("select $1::int as n", "select $1::int as n, pg_sleep(0.005)", "select pg_sleep(10)")[
        kind
    ]
    params = [] if kind == 2 else [number]
    timeout_ms = 20 + number if kind == 2 else 60_000
    reply = await client.query(sql, *params, timeout_ms=timeout_ms)
    if kind == 2:
        # a statement in PgBouncer's own queue doesn't answer a cancel: nobody knows
        is_right = reply.status in {503, 504} and reply.json["executed"] in {"no", "unknown"}
    else:
        is_right = reply.status == 200 and reply.json["rows"][0]["n"] == number
    return None if is_right else f"{number}: {reply.json}"


async def _ask_and_go_away(client: Client, number: int) -> str | None:
    try:
        async with asyncio.timeout(0.02 + number / 2000):
            reply = await client.query("select pg_sleep(10)")
    except TimeoutError:
        return None
    return f"{number}: {reply.json}"


async def test_a_client_that_goes_away_while_it_waits_leaves_the_queue(upstream: Upstream):
    pool = {"size": 1, "overflow": 0}
    async with run_client(upstream, pool=pool) as client:
        running = asyncio.ensure_future(client.query("select pg_sleep(0.5)"))
        await poll(lambda: _pool_has(client, in_use=1), "the first request doesn't run")
        gone = asyncio.ensure_future(client.query("select 1"))
        await poll(lambda: _pool_has(client, waiters=1), "the second request doesn't wait")
        gone.cancel()
        await poll(lambda: _pool_has(client, waiters=0), "the waiter stays in the queue")
        assert (await running).status == 200


async def test_a_client_that_goes_away_cancels_its_statement(upstream: Upstream):
    async with run_client(upstream) as client:
        running = asyncio.ensure_future(client.query("select pg_sleep(60)"))
        await poll(lambda: _pool_has(client, in_use=1), "the request doesn't run")
        running.cancel()
        await assert_nothing_left(client, upstream)
        stats = (await client.operations("/stats")).json
        assert stats["events"]["client_disconnected"]["count"] == 1


async def test_every_connection_is_replaced_under_load_and_nothing_fails(upstream: Upstream):
    pool = {"size": 3, "overflow": 0, "max_age_s": 2}
    async with run_client(upstream, pool=pool) as client:
        first = await _logins(client)

        async def are_all_replaced() -> bool:
            values = await asyncio.gather(*(client.value("select 1") for _ in range(50)))
            return values == [1] * 50 and not first & await _logins(client)

        await poll(are_all_replaced, "a connection lives on")


async def _logins(client: Client) -> set[int]:
    """Process ids of the logins behind the idle and lent lanes (PgBouncer hands out its own)."""
    lanes = client.service.upstream.connected.lanes
    deadline = Deadline.after(10)
    leases = [lanes.lease(deadline) for _ in range(3)]
    pids = {(await lease.__aenter__()).lane.backend_key()[0] for lease in leases}
    for lease in leases:
        await lease.__aexit__(None, None, None)
    return pids


async def _pool_has(client: Client, **gauges: int) -> bool:
    pool = await client.pool()
    return all(pool[name] == value for name, value in gauges.items())
