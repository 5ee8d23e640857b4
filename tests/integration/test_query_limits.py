"""Limits of rows, bytes and time: what is over them is refused, or cut off where asked."""

import asyncio
import time
import tracemalloc

import pytest

from tests.fixtures.service import Client, assert_nothing_left, find_backend, observe, run_client

SERIES = "select n from generate_series(1, 10) as n"
TRUNCATE = {"on_exceed": "truncate"}
INSERT = (
    "insert into users (name, email, created_at, balance) "
    "select 'Over', 'over' || n || '@new.example', now(), 0 from generate_series(1, 5) as n "
    "returning id"
)
MESSAGE_BYTES = 256 * 1024


@pytest.fixture
async def no_newcomers(client: Client):
    """Take away again what a test has inserted into users."""
    yield
    await client.query("delete from users where email like '%@new.example'")


async def count_newcomers(client: Client) -> int:
    return await client.value("select count(*) from users where email like '%@new.example'")


async def test_as_many_rows_as_the_limit_are_an_answer(client: Client):
    reply = await client.query(SERIES, limits={"rows": 10})
    assert reply.status == 200
    assert reply.json["truncated"] is False


async def test_one_row_more_than_the_limit_is_refused(client: Client):
    reply = await client.query(SERIES, limits={"rows": 9})
    assert reply.status == 413
    assert reply.json["title"] == "result_too_large"
    assert "more than 9 rows" in reply.json["detail"]


async def test_rows_over_the_limit_are_cut_off_where_asked(client: Client):
    reply = await client.query(SERIES, limits={"rows": 3, **TRUNCATE}, rows="arrays")
    assert reply.json["rows"] == [[1], [2], [3]]
    assert reply.json["row_count"] == 3
    assert reply.json["truncated"] is True


async def test_as_many_rows_as_the_limit_are_not_truncated(client: Client):
    reply = await client.query(SERIES, limits={"rows": 10, **TRUNCATE})
    assert reply.json["row_count"] == 10
    assert reply.json["truncated"] is False


async def test_more_bytes_than_the_limit_are_refused(client: Client):
    reply = await client.query("select repeat('x', 2000)", limits={"bytes": 1500})
    assert reply.status == 413
    assert "more than 1500 bytes" in reply.json["detail"]


async def test_an_answer_that_only_grows_in_json_is_refused(client: Client):
    r"""Every byte 1 is \u0001 in JSON, six times as long."""
    reply = await client.query("select repeat(e'\\x01', 1000)", limits={"bytes": 3000})
    assert reply.status == 413


async def test_bytes_over_the_limit_are_cut_off_where_asked(client: Client):
    sql = "select repeat('x', 1000) from generate_series(1, 10)"
    reply = await client.query(sql, limits={"bytes": 5000, **TRUNCATE})
    assert reply.json["truncated"] is True
    assert reply.json["row_count"] == len(reply.json["rows"]) == 4


async def test_a_request_cannot_raise_the_limits_of_the_service(client: Client):
    sql = "select n from generate_series(1, 10001) as n"
    reply = await client.query(sql, limits={"rows": 1_000_000})
    assert reply.status == 413
    assert "more than 10000 rows" in reply.json["detail"]


@pytest.mark.usefixtures("no_newcomers")
async def test_a_write_over_the_limit_says_that_it_was_executed(client: Client):
    reply = await client.query(INSERT, limits={"rows": 2})
    assert reply.status == 413
    assert reply.json["executed"] == "yes"
    assert await count_newcomers(client) == 5


@pytest.mark.blocks
async def test_a_dry_run_over_the_limit_says_that_it_was_not_executed(client: Client):
    reply = await client.query(INSERT, limits={"rows": 2}, dry_run=True)
    assert reply.status == 413
    assert reply.json["executed"] == "no"
    assert await count_newcomers(client) == 0


async def test_a_read_only_statement_over_the_limit_is_cancelled(client: Client):
    """It would run for minutes, so the answer comes only because of the cancel."""
    sql = "select generate_series(1, 1000000000)"
    reply = await client.query(sql, read_only=True, limits={"rows": 10}, timeout_ms=60_000)
    assert reply.status == 413
    assert reply.json["title"] == "result_too_large"
    assert reply.json["executed"] == "no"


async def test_a_truncated_answer_has_no_command_whatever_ends_its_transaction(client: Client):
    """The server says the tag of a statement only when its last row has been fetched."""
    reply = await client.query(SERIES, limits={"rows": 3, **TRUNCATE}, isolation="serializable")
    assert reply.json["command"] is None
    assert reply.json["row_count"] == 3


@pytest.mark.usefixtures("no_newcomers")
async def test_a_truncated_write_is_executed_to_its_end(client: Client):
    reply = await client.query(INSERT, limits={"rows": 2, **TRUNCATE})
    assert reply.json["row_count"] == 2
    assert reply.json["truncated"] is True
    assert await count_newcomers(client) == 5


async def test_a_row_over_the_message_limit_is_refused_and_never_held(upstream):
    async with run_client(upstream, limits={"message_bytes": MESSAGE_BYTES}) as client:
        await client.value("select 1")
        tracemalloc.start()
        reply = await client.query("select repeat('x', 20000000)")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert reply.status == 413
        assert reply.json["executed"] == "yes"
        assert peak < 5_000_000
        await assert_nothing_left(client, upstream)


async def test_a_row_over_the_message_limit_costs_no_connection(upstream):
    async with run_client(upstream, limits={"message_bytes": MESSAGE_BYTES}) as client:
        sql = "select repeat('x', 1000000 * (2 - n)) from generate_series(1, 2) as n"
        reply = await client.query(sql, limits=TRUNCATE)
        assert reply.json["truncated"] is True
        assert reply.json["rows"] == []
        events = (await client.operations("/stats")).json["events"]
        assert events["connection_discarded"]["count"] == 0


async def test_a_statement_over_its_time_is_cancelled(client: Client):
    reply = await client.query("select pg_sleep(30)", timeout_ms=100)
    assert reply.status == 504
    assert reply.json["title"] == "deadline_exceeded"
    assert reply.json["executed"] == "no"
    assert reply.json["sqlstate"] == "57014"


async def test_a_cancelled_write_leaves_nothing(client: Client):
    sql = f"with slow as (select pg_sleep(30)), new as ({INSERT}) select * from new, slow"
    reply = await client.query(sql, timeout_ms=100)
    assert reply.json["executed"] == "no"
    assert await count_newcomers(client) == 0


async def test_a_cancel_never_hits_a_later_statement(client: Client):
    for _ in range(10):
        reply = await client.query("select pg_sleep(0.02)", timeout_ms=20)
        assert reply.status in {200, 504}
        replies = await asyncio.gather(*(client.query("select pg_sleep(0.001)") for _ in range(8)))
        assert {reply.status for reply in replies} == {200}


async def test_a_deadline_over_the_ceiling_is_refused(client: Client):
    reply = await client.query("select 1", timeout_ms=300_001)
    assert reply.status == 400
    assert "ceiling of 300000" in reply.json["detail"]


async def test_a_request_without_a_deadline_has_that_of_the_service(upstream):
    async with run_client(upstream, limits={"timeout_s": 0.1}) as client:
        reply = await client.query("select pg_sleep(30)")
        assert reply.status == 504
        await assert_nothing_left(client, upstream)


async def test_the_time_in_the_queue_counts(upstream):
    async with run_client(upstream, pool={"size": 1, "overflow": 0}) as client:
        first = asyncio.create_task(client.query("select pg_sleep(0.6)"))
        async with observe(upstream) as observer:
            await find_backend(observer, "pg_sleep(0.6)")
        started = time.monotonic()
        reply = await client.query("select pg_sleep(30)", timeout_ms=1000)
        assert reply.status == 504
        assert time.monotonic() - started < 1.4
        assert (await first).status == 200
        await assert_nothing_left(client, upstream)


async def test_a_deadline_that_passes_in_the_queue_has_sent_nothing(upstream):
    async with run_client(upstream, pool={"size": 1, "overflow": 0}) as client:
        first = asyncio.create_task(client.query("select pg_sleep(30)", timeout_ms=1000))
        async with observe(upstream) as observer:
            await find_backend(observer, "pg_sleep(30)")
        reply = await client.query("select 1", timeout_ms=50)
        assert reply.status == 503
        assert reply.json["title"] == "pool_timeout"
        assert reply.json["phase"] == "queue"
        assert reply.json["executed"] == "no"
        assert (await first).status == 504
        await assert_nothing_left(client, upstream)
