"""How a batch ends when it can't end well: with nothing done, or by running again."""

import asyncio

import pytest

from tests.fixtures.batch import batch
from tests.fixtures.load import open_table
from tests.fixtures.service import assert_nothing_left, find_backend, observe, run_client

pytestmark = pytest.mark.matrix
POOL = {"size": 2, "overflow": 0}


@pytest.fixture
async def table(upstream):
    async with open_table(upstream, "id int primary key, n int") as name:
        yield name


async def test_a_batch_that_deadlocks_is_run_again_as_a_whole(upstream, table):
    """Two batches lock two rows in opposite order; the server ends one of them."""
    async with run_client(upstream, pool=POOL) as client:
        await client.rows(f"insert into {table} values (1, 0), (2, 0)")

        def build(*ids: int) -> list[str]:
            first, second = (f"update {table} set n = n + 1 where id = {each}" for each in ids)
            return [first, "select pg_sleep(0.3)", second]

        replies = await asyncio.gather(
            batch(client, *build(1, 2), retry=3), batch(client, *build(2, 1), retry=3)
        )
        assert [reply.status for reply in replies] == [200, 200]
        assert await client.rows(f"select n from {table}") == [{"n": 2}, {"n": 2}]


async def test_without_retry_a_deadlock_is_told(upstream, table):
    """The twin of the test above."""
    async with run_client(upstream, pool=POOL) as client:
        await client.rows(f"insert into {table} values (1, 0), (2, 0)")
        orders = ((1, 2), (2, 1))
        replies = await asyncio.gather(
            *(
                batch(
                    client,
                    f"update {table} set n = n + 1 where id = {first}",
                    "select pg_sleep(0.3)",
                    f"update {table} set n = n + 1 where id = {second}",
                )
                for first, second in orders
            )
        )
        statuses = sorted(reply.status for reply in replies)
        assert statuses == [200, 409]
        problem = next(reply.json for reply in replies if reply.status == 409)
        assert (problem["sqlstate"], problem["retryable"]) == ("40P01", True)


async def test_a_deadline_ends_a_batch_in_the_middle_with_nothing_done(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        insert = f"insert into {table} values (1)"
        reply = await batch(client, insert, "select pg_sleep(10)", timeout_ms=300)
        assert (reply.status, reply.json["executed"]) == (504, "no")
        assert await client.value(f"select count(*) from {table}") == 0
        await assert_nothing_left(client, upstream)


async def test_a_client_that_goes_ends_its_batch(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        insert = f"insert into {table} values (1)"
        running = asyncio.create_task(batch(client, insert, "select pg_sleep(10), 'left'", insert))
        async with observe(upstream) as observer:
            await find_backend(observer, "left")
        running.cancel()
        await asyncio.wait([running])
        await assert_nothing_left(client, upstream)
        assert await client.value(f"select count(*) from {table}") == 0


async def test_a_killed_backend_has_done_nothing_of_its_batch(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        insert = f"insert into {table} values (1)"
        running = asyncio.create_task(batch(client, insert, "select pg_sleep(10), 'kill'"))
        async with observe(upstream) as observer:
            pid = await find_backend(observer, "kill")
            await observer.execute("select pg_terminate_backend($1)", pid)
        reply = await running
        assert (reply.status, reply.json["executed"]) == (503, "unknown")
        await assert_nothing_left(client, upstream)
        assert await client.value(f"select count(*) from {table}") == 0
