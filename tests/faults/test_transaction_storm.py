"""Many transactions at once that end in every way: what was committed is there, nothing else is."""

import asyncio
import random

import aiohttp
import pytest

from tests.fixtures.load import open_table
from tests.fixtures.service import run_client
from tests.fixtures.transaction import Transaction, assert_no_transaction_left, begin

pytestmark = [pytest.mark.matrix, pytest.mark.blocks]
POOL = {"size": 4, "overflow": 0, "checkout_timeout_s": 60}
CLIENTS = 120
SLEEP = "select pg_sleep(60)"


async def commit(transaction: Transaction) -> None:
    assert (await transaction.commit()).status == 200


async def roll_back(transaction: Transaction) -> None:
    assert (await transaction.rollback()).status == 200


async def fail(transaction: Transaction) -> None:
    assert (await transaction.query("select 1/0")).status == 400
    assert (await transaction.commit()).status == 409


async def overrun(transaction: Transaction) -> None:
    assert (await transaction.query(SLEEP, timeout_ms=5)).status == 504
    assert (await transaction.rollback()).status == 200


async def forget(transaction: Transaction) -> None:
    """Never come back: it expires."""


async def leave(transaction: Transaction) -> None:
    """Go away in the middle of a statement."""
    url = transaction.client.service.url + f"{transaction.path}/query"
    async with aiohttp.ClientSession() as session:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(random.uniform(0, 0.02)):
                await session.post(url, json={"sql": SLEEP})


async def test_a_storm_of_transactions_leaves_what_was_committed(upstream):
    endings = [commit, roll_back, fail, overrun, forget, leave] * (CLIENTS // 6)
    random.shuffle(endings)
    async with (
        open_table(upstream, "id int") as table,
        run_client(upstream, pool=POOL, limits={"held_share": 0.5}) as client,
    ):
        places = asyncio.Semaphore(2)

        async def run(number: int, end) -> None:
            async with places:
                begun = await begin_when_there_is_room(client)
                transaction = Transaction(client, begun)
                reply = await transaction.query(f"insert into {table} values ($1)", number)
                assert reply.status == 200, reply.json
                await end(transaction)

        others = [client.value("select $1::int", number) for number in range(CLIENTS)]
        await asyncio.gather(*(run(n, end) for n, end in enumerate(endings)), *others)
        await assert_no_transaction_left(client, upstream)
        ids = {row["id"] for row in await client.rows(f"select id from {table}")}
        assert ids == {number for number, end in enumerate(endings) if end is commit}


async def begin_when_there_is_room(client):
    """One that is forgotten keeps its place for a while."""
    async with asyncio.timeout(60):
        while True:
            reply = await begin(client, idle_timeout_ms=200)
            if reply.status != 429:
                return reply
            await asyncio.sleep(0.01)
