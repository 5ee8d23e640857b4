"""How an open transaction ends when nobody ends it well: it's rolled back, and nothing is left."""

import asyncio

import aiohttp
import pytest

from tests.fixtures.load import open_table
from tests.fixtures.service import (
    OUR_NAME,
    Client,
    assert_nothing_left,
    find_backend,
    observe,
    poll,
    run_client,
)
from tests.fixtures.stream import MANY, NUMBERS
from tests.fixtures.tcp_proxy import TcpProxy
from tests.fixtures.transaction import (
    Transaction,
    assert_rolled_back,
    begin,
    begin_with_row,
    wait_for_end,
)

pytestmark = [pytest.mark.matrix, pytest.mark.blocks]
POOL = {"size": 4, "overflow": 0}
SLEEP = "select pg_sleep(60)"
DEFERRED = """
create function dawdle() returns trigger language plpgsql as
$$ begin perform pg_sleep(60); return null; end $$
"""


@pytest.fixture
async def table(upstream):
    async with open_table(upstream, "id int") as name:
        yield name


async def kill(upstream, pid: int) -> None:
    async with observe(upstream) as observer:
        await observer.execute("select pg_terminate_backend($1, 5000)", pid)


async def test_a_backend_that_is_killed_between_statements_ends_it(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        transaction = await begin_with_row(client, table)
        await kill(upstream, await transaction.value("select pg_backend_pid()"))
        problem = (await transaction.query("select 1")).json
        assert problem["status"] in {410, 503}  # it has seen the loss before, or sees it now
        assert (problem["executed"], problem["retryable"]) == ("no", False)
        problem = await wait_for_end(transaction)
        assert (problem["title"], problem["executed"]) == ("transaction_ended", "no")
        await assert_rolled_back(client, upstream, table)


async def test_a_backend_that_is_killed_in_a_statement_has_executed_nothing(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        transaction = await begin_with_row(client, table)
        pid = await transaction.value("select pg_backend_pid()")
        running = asyncio.create_task(transaction.query(f"{SLEEP} /* in a transaction */"))
        async with observe(upstream) as observer:
            await find_backend(observer, "/* in a transaction */")
        await kill(upstream, pid)
        problem = (await running).json
        assert (problem["status"], problem["title"]) == (503, "upstream_unavailable")
        assert (problem["executed"], problem["retryable"]) == ("no", False)
        assert "lost" in (await wait_for_end(transaction))["detail"]
        await assert_rolled_back(client, upstream, table)


async def test_a_backend_that_is_killed_in_a_stream_has_executed_nothing(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        transaction = await begin_with_row(client, table)
        pid = await transaction.value("select pg_backend_pid()")
        slowly = "select repeat('x', 9000), pg_sleep(0.01) from generate_series(1, 3000)"
        running = asyncio.create_task(transaction.stream(slowly))
        async with observe(upstream) as observer:
            await find_backend(observer, "pg_sleep(0.01)")
        await kill(upstream, pid)
        answer = await running
        problem = answer.lines[-1]["error"] if answer.status == 200 else answer.json
        assert (problem["title"], problem["executed"]) == ("upstream_unavailable", "no")
        await assert_rolled_back(client, upstream, table)


@pytest.fixture
async def slow_commit(upstream):
    """A table whose rows make their COMMIT take a minute."""
    async with open_table(upstream, "id int") as table, observe(upstream) as admin:
        await admin.execute(DEFERRED)
        await admin.execute(
            f"create constraint trigger late after insert on {table} deferrable initially deferred "
            "for each row execute function dawdle()"
        )
        yield table
        await admin.execute("drop function dawdle() cascade")


async def commit_slowly(client: Client, upstream, table: str):
    """A COMMIT that is under way."""
    transaction = await begin_with_row(client, table)
    pid = await transaction.value("select pg_backend_pid()")
    running = asyncio.create_task(transaction.commit(timeout_ms=30000))
    async with observe(upstream) as observer:
        await find_backend(observer, "commit")
    return transaction, pid, running


async def test_a_connection_lost_during_the_commit_leaves_it_unknown(upstream, slow_commit):
    async with run_client(upstream, pool=POOL) as client:
        transaction, pid, running = await commit_slowly(client, upstream, slow_commit)
        await kill(upstream, pid)
        problem = (await running).json
        assert (problem["status"], problem["phase"]) == (503, "commit")
        assert (problem["executed"], problem["retryable"]) == ("unknown", False)
        assert (await transaction.state()).json["executed"] == "unknown"
        await assert_rolled_back(client, upstream, slow_commit)


async def test_a_commit_that_is_cancelled_has_executed_nothing(upstream, slow_commit):
    async with run_client(upstream, pool=POOL) as client:
        transaction = await begin_with_row(client, slow_commit)
        problem = (await transaction.commit(timeout_ms=200)).json
        assert (problem["status"], problem["phase"]) == (504, "commit")
        assert problem["executed"] == "no"
        await assert_rolled_back(client, upstream, slow_commit)


async def test_the_commit_of_a_client_that_goes_away_is_finished(upstream, table):
    """What became of it can be asked for."""
    async with TcpProxy("127.0.0.1", upstream.port) as way:
        dsn = f"postgresql://app@127.0.0.1:{way.port}/app"
        async with run_client(dsn, pool=POOL) as client:
            transaction = await begin_with_row(client, table)
            way.stall()
            async with aiohttp.ClientSession() as session:
                url = client.service.url + f"{transaction.path}/commit"
                running = asyncio.create_task(session.post(url))

                async def is_busy() -> bool:
                    return (await transaction.state()).json["state"] == "busy"

                await poll(is_busy, "the COMMIT has not been sent")
                running.cancel()

            async def is_noticed() -> bool:
                events = (await client.operations("/stats")).json["events"]
                return events["client_disconnected"]["count"] == 1

            await poll(is_noticed, "the client's end goes unnoticed")
            way.resume()
            problem = await wait_for_end(transaction)
            assert (problem["detail"], problem["executed"]) == (
                "the transaction is over: it was committed",
                "yes",
            )
            assert await client.value(f"select count(*) from {table}") == 1
            await assert_nothing_left(client, upstream)


async def test_a_client_that_goes_away_in_a_statement_ends_it(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        transaction = await begin_with_row(client, table)
        async with aiohttp.ClientSession() as session:
            url = client.service.url + f"{transaction.path}/query"
            running = asyncio.create_task(
                session.post(url, json={"sql": f"{SLEEP} /* left alone */"})
            )
            async with observe(upstream) as observer:
                await find_backend(observer, "/* left alone */")
            running.cancel()
        problem = await wait_for_end(transaction)
        assert "a client went away" in problem["detail"]
        assert (problem["title"], problem["executed"]) == ("transaction_ended", "no")
        await assert_rolled_back(client, upstream, table)


async def test_a_client_that_goes_away_in_a_stream_ends_it(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        transaction = await begin_with_row(client, table)
        async with aiohttp.ClientSession() as session:
            url = client.service.url + f"{transaction.path}/stream"
            async with session.post(url, json={"sql": NUMBERS, "params": [MANY]}) as response:
                await response.content.readany()
        assert "a client went away" in (await wait_for_end(transaction))["detail"]
        await assert_rolled_back(client, upstream, table)


async def test_a_client_that_goes_away_before_the_last_of_a_row_ends_it(upstream, table):
    """The server has ended the statement by then."""
    async with run_client(upstream, pool=POOL) as client:
        transaction = await begin_with_row(client, table)
        async with aiohttp.ClientSession(read_bufsize=1024) as session:
            url = client.service.url + f"{transaction.path}/stream"
            async with session.post(url, json={"sql": "select repeat('x', 30000000)"}) as response:
                await response.content.readany()
        assert "a client went away" in (await wait_for_end(transaction))["detail"]
        await assert_rolled_back(client, upstream, table)


async def test_a_client_that_goes_away_before_it_has_begun_leaves_nothing(upstream):
    async with TcpProxy("127.0.0.1", upstream.port) as way:
        dsn = f"postgresql://app@127.0.0.1:{way.port}/app"
        async with run_client(dsn, pool=POOL) as client:
            way.stall()
            running = asyncio.create_task(begin(client))

            async def is_lent() -> bool:
                pool = await client.pool()
                return pool["in_use"] + pool["waiters"] > 0

            await poll(is_lent, "it doesn't begin")
            running.cancel()
            way.resume()
            await assert_nothing_left(client, upstream)
            gauges = (await client.operations("/stats")).json["transactions"]
            assert gauges["open"] == 0


async def test_a_connection_that_is_lost_at_the_beginning_is_replaced(upstream):
    async with TcpProxy("127.0.0.1", upstream.port) as way:
        dsn = f"postgresql://app@127.0.0.1:{way.port}/app"
        async with run_client(dsn, pool=POOL) as client:
            assert await client.value("select 1") == 1
            way.stall()
            beginning = asyncio.create_task(begin(client))

            async def is_lent() -> bool:
                return (await client.pool())["in_use"] == 1

            await poll(is_lent, "it doesn't begin")
            way.cut()
            way.resume()
            begun = await beginning
            assert begun.status == 201
            await Transaction(client, begun).rollback()
            await assert_nothing_left(client, upstream)


async def test_a_connection_that_was_lost_before_is_replaced_at_the_beginning(upstream):
    async with run_client(upstream, pool={"size": 1, "overflow": 0}) as client:
        assert await client.value("select 1") == 1
        async with observe(upstream) as observer:
            ours = "application_name = $1 and pid <> pg_backend_pid()"
            ending = f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where {ours}"
            await observer.execute(ending, OUR_NAME)
        transaction = await Transaction.begin(client)
        assert (await transaction.commit()).status == 200
