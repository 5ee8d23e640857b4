"""Deadlines of open transactions, and of their statements; what is remembered of them."""

import asyncio

import pytest

from proxy.engine import connection
from proxy.query import transaction_book
from proxy.wire.cancel import cancel_statement
from tests.fixtures.load import open_table
from tests.fixtures.service import (
    Client,
    assert_nothing_left,
    poll,
    run_client,
)
from tests.fixtures.transaction import Transaction, assert_rolled_back, begin_with_row, wait_for_end

pytestmark = [pytest.mark.matrix, pytest.mark.blocks]
POOL = {"size": 4, "overflow": 0}
SLEEP = "select pg_sleep(60)"


@pytest.fixture
async def table(upstream):
    async with open_table(upstream, "id int") as name:
        yield name


async def test_without_a_request_it_expires(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        transaction = await begin_with_row(client, table, idle_timeout_ms=100)
        problem = await wait_for_end(transaction)
        assert (problem["title"], problem["executed"]) == ("transaction_expired", "no")
        assert "no request came for 0.1 s" in problem["detail"]
        problem = (await transaction.query("select 1")).json
        assert (problem["status"], problem["title"]) == (410, "transaction_expired")
        await assert_rolled_back(client, upstream, table)
        events = (await client.operations("/stats")).json["events"]
        assert events["transaction_expired"]["count"] == 1


async def test_requests_keep_it_from_being_idle_but_looks_do_not(upstream):
    async with run_client(upstream, pool=POOL) as client:
        transaction = await Transaction.begin(client, idle_timeout_ms=400)
        for _ in range(4):
            await transaction.value("select pg_sleep(0.2)")
        assert (await wait_for_end(transaction))["title"] == "transaction_expired"
        await assert_nothing_left(client, upstream)


async def test_its_whole_time_ends_it_between_statements(upstream, table):
    async with run_client(upstream, pool=POOL, transactions={"timeout_s": 0.3}) as client:
        transaction = await begin_with_row(client, table)
        problem = await wait_for_end(transaction)
        assert "it was open for 0.3 s" in problem["detail"]
        await assert_rolled_back(client, upstream, table)


async def test_its_whole_time_cancels_the_statement_that_runs(upstream, table):
    async with run_client(upstream, pool=POOL, transactions={"timeout_s": 0.3}) as client:
        transaction = await begin_with_row(client, table)
        problem = (await transaction.query(SLEEP)).json
        assert (problem["status"], problem["title"]) == (410, "transaction_expired")
        assert (problem["executed"], problem["phase"]) == ("no", "execute")
        await assert_rolled_back(client, upstream, table)


async def test_its_whole_time_cuts_a_stream(upstream):
    async with run_client(upstream, pool=POOL, transactions={"timeout_s": 0.5}) as client:
        transaction = await Transaction.begin(client)
        slowly = "select repeat('x', 9000), pg_sleep(0.01) from generate_series(1, 3000)"
        answer = await transaction.stream(slowly)
        assert answer.lines[-1]["error"]["title"] == "transaction_expired"
        await assert_nothing_left(client, upstream)


async def test_a_statements_own_deadline_leaves_a_failed_transaction(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        transaction = await begin_with_row(client, table)
        await transaction.query("savepoint one")
        problem = (await transaction.query(SLEEP, timeout_ms=100)).json
        assert (problem["status"], problem["executed"]) == (504, "no")
        assert (await transaction.state()).json["state"] == "failed"
        assert (await transaction.query("rollback to one")).status == 200
        assert (await transaction.commit()).status == 200
        assert await client.value(f"select count(*) from {table}") == 1
        await assert_nothing_left(client, upstream)


async def cancel_slowly(lane) -> None:
    """Have the cancel arrive when the statement has ended, as a slow network does."""
    await asyncio.sleep(0.08)
    await cancel_statement(lane)


async def meet_late_cancel(client: Client, monkeypatch) -> int:
    """Run a statement that ends while its cancel is on its way; returns the next one's status."""
    monkeypatch.setattr(connection, "cancel_statement", cancel_slowly)
    transaction = await Transaction.begin(client)
    assert (await transaction.query("select pg_sleep(0.05)", timeout_ms=20)).status == 200
    status = (await transaction.query("select pg_sleep(0.2)")).status
    await transaction.rollback()
    return status


async def test_the_cancel_of_one_statement_never_hits_the_next(upstream, monkeypatch):
    async with run_client(upstream, pool=POOL) as client:
        assert await meet_late_cancel(client, monkeypatch) == 200
        await assert_nothing_left(client, upstream)


async def test_the_next_one_dies_where_nobody_waits_for_the_cancel(upstream, monkeypatch):
    """The twin of the test above."""

    async def go_on(_connection) -> bool:
        return True

    monkeypatch.setattr(connection.UpstreamConnection, "regain", go_on)
    async with run_client(upstream, pool=POOL) as client:
        assert await meet_late_cancel(client, monkeypatch) == 504
        await assert_nothing_left(client, upstream)


async def test_endings_are_remembered_in_a_bounded_number(upstream, monkeypatch):
    monkeypatch.setattr(transaction_book, "REMEMBERED", 2)
    async with run_client(upstream, pool=POOL) as client:
        ended = [await Transaction.begin(client) for _ in range(1)]
        await ended[0].rollback()
        for _ in range(2):
            ended.append(await Transaction.begin(client))
            await ended[-1].rollback()
        assert [(await one.state()).status for one in ended] == [404, 410, 410]


async def test_endings_are_forgotten_in_time(upstream, monkeypatch):
    monkeypatch.setattr(transaction_book, "REMEMBERED_S", 0.0)
    async with run_client(upstream, pool=POOL) as client:
        transaction = await Transaction.begin(client)
        await transaction.rollback()

        async def is_forgotten() -> bool:
            return (await transaction.state()).status == 404

        await poll(is_forgotten, "it is remembered for ever")
