"""What a shutdown makes of open transactions."""

import asyncio
import signal

import aiohttp
import pytest

from proxy.app import drain
from tests.fixtures.load import open_table
from tests.fixtures.program import run_program
from tests.fixtures.service import (
    OUR_NAME,
    assert_nothing_left,
    find_backend,
    observe,
    poll,
    run_client,
)
from tests.fixtures.transaction import (
    Transaction,
    begin,
    begin_with_row,
)

pytestmark = [pytest.mark.matrix, pytest.mark.blocks]
POOL = {"size": 4, "overflow": 0}
SLEEP = "select pg_sleep(60)"


@pytest.fixture
async def table(upstream):
    async with open_table(upstream, "id int") as name:
        yield name


async def test_a_service_that_is_closed_rolls_back_what_is_open(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        await begin_with_row(client, table)
    async with observe(upstream) as observer:
        is_open = "application_name = $1 and state like 'idle in transaction%'"
        sql = f"select count(*) from pg_stat_activity where {is_open}"
        assert await observer.fetchval(sql, OUR_NAME) == 0
        assert await observer.fetchval(f"select count(*) from {table}") == 0


async def test_a_drain_lets_an_open_transaction_finish(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        transaction = await begin_with_row(client, table)
        draining = asyncio.create_task(drain(client.service, 10, asyncio.Event()))

        async def is_draining() -> bool:
            return (await begin(client)).status == 503

        await poll(is_draining, "it doesn't drain")
        assert (await transaction.query(f"insert into {table} values (2)")).status == 200
        assert not draining.done()
        assert (await transaction.commit()).status == 200
        await draining
        async with observe(upstream) as observer:
            assert await observer.fetchval(f"select count(*) from {table}") == 2


async def test_a_drain_rolls_back_what_outlives_its_limit(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        idle = await begin_with_row(client, table)
        await drain(client.service, 0.1, asyncio.Event())
        problem = (await idle.state()).json
        assert (problem["title"], problem["executed"]) == ("transaction_ended", "no")
        assert "shutting down" in problem["detail"]
        await assert_nothing_left(client, upstream)
    async with observe(upstream) as observer:
        assert await observer.fetchval(f"select count(*) from {table}") == 0


async def test_a_drain_cancels_what_runs_in_a_transaction_at_its_limit(upstream):
    async with run_client(upstream, pool=POOL) as client:
        transaction = await Transaction.begin(client)
        running = asyncio.create_task(transaction.query(f"{SLEEP} /* drained */"))
        async with observe(upstream) as observer:
            await find_backend(observer, "/* drained */")
        await drain(client.service, 0.1, asyncio.Event())
        problem = (await running).json
        assert (problem["status"], problem["title"]) == (503, "draining")
        assert (problem["executed"], problem["retryable"]) == ("no", False)
        await assert_nothing_left(client, upstream)


async def test_a_signal_waits_for_an_open_transaction(upstream, table):
    async with (
        run_program("--upstream.dsn", upstream.dsn) as program,
        aiohttp.ClientSession(program.url) as session,
    ):
        async with session.post("/v1/transactions") as begun:
            path = begun.headers["Location"]
        program.process.send_signal(signal.SIGTERM)

        async def is_draining() -> bool:
            async with session.post("/v1/query", json={"sql": "select 1"}) as response:
                return response.status == 503

        await poll(is_draining, "it doesn't drain")
        body = {"sql": f"insert into {table} values (1)"}
        async with session.post(f"{path}/query", json=body) as response:
            assert response.status == 200
        async with session.post(f"{path}/commit") as response:
            assert response.status == 200
        assert await program.wait() == 0
    async with observe(upstream) as observer:
        assert await observer.fetchval(f"select count(*) from {table}") == 1
