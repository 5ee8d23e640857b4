"""What ends a batch whose statements run each on its own: nothing more is sent."""

import asyncio

import pytest

from proxy.errors import Draining
from tests.fixtures.batch import batch
from tests.fixtures.load import open_table
from tests.fixtures.service import assert_nothing_left, find_backend, observe, run_client

pytestmark = pytest.mark.matrix
SLOW = "select pg_sleep(10), 'slow'"


@pytest.fixture
async def client(upstream):
    async with run_client(upstream, pool={"size": 2, "overflow": 0}) as running:
        yield running
        await assert_nothing_left(running, upstream)


@pytest.fixture
async def table(upstream):
    async with open_table(upstream, "id int") as name:
        yield name


async def start(client, upstream, *statements, **members):
    """A separate batch whose slow statement runs, and the backend that runs it."""
    task = asyncio.create_task(batch(client, *statements, mode="separate", **members))
    async with observe(upstream) as observer:
        return task, await find_backend(observer, "'slow'")


def list_ends(reply):
    """Of each result the error's title and what it says was executed; None for a success."""
    problems = [each.get("error") for each in reply.json["results"]]
    return [problem and (problem["title"], problem["executed"]) for problem in problems]


async def count(client, table):
    return await client.value(f"select count(*) from {table}")


async def test_nothing_is_sent_after_the_deadline(client, table):
    insert = f"insert into {table} values (1)"
    reply = await batch(client, insert, SLOW, *[insert] * 50, mode="separate", timeout_ms=300)
    assert list_ends(reply) == [None, *[("deadline_exceeded", "no")] * 51]
    assert await count(client, table) == 1


async def test_nothing_is_sent_after_the_request_was_cancelled(client, upstream, table):
    insert = f"insert into {table} values (1)"
    task, _ = await start(client, upstream, SLOW, *[insert] * 50)
    (running,) = (await client.get("/v1/queries")).json["queries"]
    url = f"{client.service.url}/v1/queries/{running['id']}"
    async with client.session.delete(url) as response:
        assert response.status == 202
    assert list_ends(await task) == [("query_canceled", "no")] * 51
    assert await count(client, table) == 0


async def test_nothing_is_sent_after_the_end_of_the_drain(client, upstream, table):
    insert = f"insert into {table} values (1)"
    task, _ = await start(client, upstream, SLOW, *[insert] * 50)
    client.service.upstream.cancel_running(Draining)
    assert list_ends(await task) == [("draining", "no")] * 51
    assert await count(client, table) == 0


async def test_nothing_is_sent_after_the_client_has_gone(client, upstream, table):
    insert = f"insert into {table} values (1)"
    task, _ = await start(client, upstream, insert, SLOW, *[insert] * 50)
    task.cancel()
    await asyncio.wait([task])
    await assert_nothing_left(client, upstream)
    assert await count(client, table) == 1


async def test_a_lost_connection_is_the_failure_of_its_statement_alone(client, upstream, table):
    insert = f"insert into {table} values (1)"
    task, pid = await start(client, upstream, insert, SLOW, insert)
    async with observe(upstream) as observer:
        await observer.execute("select pg_terminate_backend($1)", pid)
    assert [end and end[1] for end in list_ends(await task)] == [None, "unknown", None]
    assert await count(client, table) == 2


async def test_nothing_is_sent_after_a_wait_beyond_the_deadline(upstream, table):
    async with run_client(upstream, pool={"size": 1, "overflow": 0}) as client:
        slow, _ = await start(client, upstream, SLOW)
        insert = f"insert into {table} values (1)"
        reply = await batch(client, *[insert] * 3, mode="separate", timeout_ms=200)
        assert list_ends(reply) == [("pool_timeout", "no"), *[("deadline_exceeded", "no")] * 2]
        slow.cancel()
        await asyncio.wait([slow])
        await assert_nothing_left(client, upstream)


async def test_what_may_have_committed_on_its_way_is_told_at_the_deadline(client):
    reply = await batch(client, "do $$ begin perform pg_sleep(10); end $$", timeout_ms=200)
    assert (reply.json["title"], reply.json["executed"]) == ("deadline_exceeded", "unknown")
