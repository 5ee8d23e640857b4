"""Flights on real servers, each on a lane that is as good as new afterwards."""

import asyncio
import struct

import pytest

from proxy.engine.flight import build_copy_flight, build_flight
from proxy.wire.answer import Discard
from proxy.wire.copy_feed import CopyFeed
from proxy.wire.lane import ConnectionLost, Lane
from proxy.wire.rowset import RowSet
from tests.fixtures.backend_message import message
from tests.fixtures.lane import MESSAGE_BYTES, Gate, open_driver, poll_until, run, value
from tests.fixtures.service import observe, poll

pytestmark = pytest.mark.matrix

TOKYO = {"TimeZone": "Asia/Tokyo"}
LARGE_BYTES = 3 * 1024 * 1024
MANY_ROWS = "select repeat('x', 1000) from generate_series(1, 20000)"


@pytest.fixture
async def driver(upstream):
    async with open_driver(upstream.dsn) as connection:
        yield connection


@pytest.fixture
async def lane(driver):
    return Lane(driver, MESSAGE_BYTES)


@pytest.fixture
async def reused(lane, driver):
    """A lane that a test leaves free: for the next flight, and for asyncpg after it."""
    yield lane
    assert lane.status == "I"
    assert not lane.is_busy
    assert await value(lane, "select 42") == "42"
    lane.hand_back()
    assert await driver.fetchval("select 43") == 43


async def test_flight_brings_rows_and_tag(reused):
    answer, rows = await run(reused, "select $1::int + 1, null", "41")
    assert rows == [(b"42", None)]
    assert answer.tag == b"SELECT 1\0"


async def test_settings_hold_for_their_flight_alone(reused):
    assert await value(reused, "select current_setting('TimeZone')", settings=TOKYO) == "Asia/Tokyo"
    assert await value(reused, "select current_setting('TimeZone')") != "Asia/Tokyo"


async def test_tag_is_the_statements_and_not_the_prefixes(reused):
    answer, _ = await run(reused, "do 'begin end'", settings=TOKYO)
    assert answer.tag == b"DO\0"


@pytest.mark.parametrize(
    ("sql", "values", "sqlstate"),
    [
        ("selec", (), "42601"),
        ("select $1::int", ("x",), "22P02"),
        ("select $1::int", (), "08P01"),
        ("select 1/0", (), "22012"),
        ("do $$ begin raise exception using errcode = '57P01'; end $$", (), "57P01"),
    ],
)
@pytest.mark.parametrize("settings", [None, TOKYO])
async def test_error_of_the_statement_leaves_the_lane_free(reused, sql, values, sqlstate, settings):
    answer, rows = await run(reused, sql, *values, settings=settings)
    assert (answer.error.sqlstate, answer.is_prefix_error, rows) == (sqlstate, False, [])


async def test_error_in_the_prefix_is_told_apart(reused):
    answer, rows = await run(reused, "select 1", settings={"TimeZone": "Mars/Olympus"})
    assert (answer.error.sqlstate, answer.is_prefix_error, rows) == ("22023", True, [])


async def test_error_may_come_after_rows_and_tag(reused):
    sql = "insert into seats values (99, 1) returning id"
    answer, rows = await run(reused, sql)
    assert (answer.error.sqlstate, answer.tag, rows) == ("23505", b"INSERT 0 1\0", [(b"99",)])


async def test_empty_statement_is_no_error(reused):
    answer, _ = await run(reused, "-- nothing")
    assert (answer.is_empty, answer.error, answer.tag) == (True, None, None)


async def test_row_limit_suspends_and_ends(reused):
    answer, rows = await run(reused, "select generate_series(1, 10)", max_rows=3)
    assert (answer.is_suspended, answer.tag, len(rows)) == (True, None, 3)


async def test_notices_come_with_their_answer(reused):
    sql = "do $$ begin raise notice 'hello' using hint = 'wave'; end $$"
    answer, _ = await run(reused, sql)
    assert [(notice.message, notice.hint) for notice in answer.notices] == [("hello", "wave")]


async def test_a_lane_that_is_paused_when_its_answer_ends_reads_the_next_one(reused):
    """The row that fills a buffer, and the end of the answer, may come in one piece."""
    await reused.send(build_flight(b"select 1"), Gate(reused))
    async with asyncio.timeout(5):
        assert await value(reused, "select 42") == "42"


async def test_copy_that_nobody_feeds_ends_with_an_error(reused):
    answer, _ = await run(reused, "copy users from stdin")
    assert (answer.copy, answer.error.sqlstate) == ("in", "57014")
    assert "brings no data" in answer.error.message


async def test_copy_that_nobody_reads_ends(reused):
    answer, rows = await run(reused, "copy (select 1) to stdout")
    assert (answer.copy, answer.tag, rows) == ("out", b"COPY 1\0", [])


async def test_large_value_arrives_whole(reused):
    sent = "é" * (LARGE_BYTES // 2)
    assert await value(reused, "select $1::text", sent) == sent


async def test_row_over_the_limit_is_dropped_and_the_lane_goes_on(driver):
    lane = Lane(driver, 1024 * 1024)

    class Witness(RowSet):
        skipped = 0

        def skip_row(self):
            self.skipped += 1

    witness = Witness()
    sql = f"select repeat('x', case n when 2 then {LARGE_BYTES} end) from generate_series(1, 3) n"
    answer = await lane.send(build_flight(sql.encode()), witness)
    assert (witness.rows, witness.skipped) == ([(None,), (None,)], 1)
    assert (answer.tag, answer.error) == (b"SELECT 3\0", None)


async def test_paused_lane_takes_nothing_until_it_goes_on(reused, upstream):
    gate = Gate(reused)
    future = reused.send(build_flight(MANY_ROWS.encode()), gate)
    await poll_until(lambda: gate.received_bytes > 0)
    before = gate.received_bytes
    async with observe(upstream) as clock:
        await clock.fetchval("select pg_sleep(0.1)")
    assert gate.received_bytes == before
    gate.is_open = True
    reused.resume()
    assert (await future).tag == b"SELECT 20000\0"
    assert gate.received_bytes > 20_000_000


async def test_simple_query_brings_the_rows_of_all_its_statements(reused):
    rows = RowSet()
    answer = await reused.send_query("select 1; select 2", rows)
    assert (rows.rows, answer.tag) == ([(b"1",), (b"2",)], b"SELECT 1\0")


async def test_simple_query_speaks_to_pgbouncers_console(pgbouncer_transaction):
    async with open_driver(pgbouncer_transaction.console_dsn) as driver:
        rows = RowSet()
        await Lane(driver, MESSAGE_BYTES).send_query("show config", rows)
        assert [field.name for field in rows.fields[:2]] == ["key", "value"]
        assert (b"pool_mode", b"transaction") in {row[:2] for row in rows.rows}


@pytest.mark.blocks
async def test_status_tells_of_an_open_transaction(lane):
    answer = await lane.send_query("begin", Discard())
    assert (answer.status, lane.status) == ("T", "T")
    answer, _ = await run(lane, "select 1/0")
    assert (answer.status, lane.status) == ("E", "E")
    answer = await lane.send_query("rollback", Discard())
    assert (answer.status, lane.status) == ("I", "I")


async def test_lane_carries_one_flight_at_a_time(reused):
    first = reused.send(build_flight(b"select 1"), Discard())
    with pytest.raises(RuntimeError, match="one flight"):
        reused.send(build_flight(b"select 2"), Discard())
    await first


async def test_abandoned_flight_is_read_to_its_end_and_its_rows_are_dropped(reused):
    gate = Gate(reused)
    future = reused.send(build_flight(MANY_ROWS.encode()), gate)
    await poll_until(lambda: gate.received_bytes > 0)
    before = gate.received_bytes
    future.cancel()
    answer = await reused.abandon()
    assert answer.tag == b"SELECT 20000\0"
    assert gate.received_bytes == before


async def test_request_that_has_gone_away_does_not_keep_the_lane(reused):
    reused.send(build_flight(b"select 1"), Discard()).cancel()
    await poll_until(lambda: not reused.is_busy)


async def test_terminated_backend_is_told_to_the_request_and_to_the_driver(lane, driver, upstream):
    future = lane.send(build_flight(b"select pg_sleep(60) /* terminate me */"), Discard())
    await terminate(upstream, "terminate me")
    words = "administrator" if upstream.kind == "postgres" else "server conn crashed"
    with pytest.raises(ConnectionLost, match=words) as lost:
        await future
    assert lost.value.message.is_fatal
    assert driver.is_closed()


async def test_lost_lane_takes_no_flight_and_stays_quiet(lane, driver):
    lane.abort()
    await poll_until(lambda: lane.is_lost)
    with pytest.raises(ConnectionLost, match="was closed"):
        await lane.send(build_flight(b"select 1"), Discard())
    lane.pause()
    lane.resume()
    lane.hand_back()
    assert driver.is_closed()


async def test_data_that_comes_after_its_end_goes_nowhere(lane):
    feed = CopyFeed()
    copy = lane.send(build_copy_flight(b"copy users (id) from stdin", feed, {}), Discard())
    assert await feed.wait()
    lane.abort()
    with pytest.raises(ConnectionLost):
        await copy
    assert not await feed.send(b"1\n")


async def test_last_word_of_the_server_is_kept_for_the_next_flight(lane, upstream):
    marker = f"the last one of {lane.backend_key()}"  # backends of others have run this test, too
    await run(lane, f"select 1 /* {marker} */")
    if upstream.kind == "postgres":
        await terminate(upstream, marker)
    else:
        lane.data_received(message("E", b"SFATAL\0C08P01\0Madministrator\0\0"))
        lane.abort()
    await poll_until(lambda: lane.is_lost)
    with pytest.raises(ConnectionLost, match="administrator"):
        await lane.send(build_flight(b"select 1"), Discard())


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        message("W", b"\0\0\0"),
        b"D" + struct.pack("!i", -1),
        b"E" + struct.pack("!i", MESSAGE_BYTES + 1),
    ],
    ids=["http", "copy-both", "negative", "oversize"],
)
async def test_peer_that_speaks_no_postgres_loses_the_connection(lane, driver, garbage):
    future = lane.send(build_flight(b"select pg_sleep(1)"), Discard())
    lane.data_received(garbage)
    with pytest.raises(ConnectionLost):
        await future
    assert driver.is_closed()


async def terminate(upstream, marker):
    """End the backend that runs, or ran last, a statement with `marker` in its text."""
    sql = (
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where query like '%' || $1 || '%' and pid <> pg_backend_pid()"
    )
    async with observe(upstream) as observer:

        async def is_terminated():
            return await observer.fetchval(sql, marker) is True

        await poll(is_terminated, f"no backend has run {marker}")
