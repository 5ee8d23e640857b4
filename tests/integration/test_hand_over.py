"""asyncpg's transport goes to the lane and comes back, with all that was said meanwhile."""

import asyncio
from types import SimpleNamespace

import pytest

from proxy.engine.flight import build_flight
from proxy.wire.answer import Discard
from proxy.wire.lane import HandOverRefused, Lane
from tests.fixtures.lane import MESSAGE_BYTES, open_driver, poll_until, run, value


@pytest.fixture
async def driver(upstream):
    async with open_driver(upstream.dsn) as connection:
        yield connection


@pytest.fixture
async def direct(postgres):
    async with open_driver(postgres.dsn) as connection:
        yield connection


async def test_driver_and_lane_take_turns(driver):
    for number in range(5):
        lane = Lane(driver, MESSAGE_BYTES)
        assert await value(lane, "select $1::int", str(number)) == str(number)
        lane.hand_back()
        assert await driver.fetchval("select $1::int", number) == number


async def test_driver_reads_again_after_a_pause(driver):
    lane = Lane(driver, MESSAGE_BYTES)
    await run(lane, "select 1")
    lane.pause()
    lane.hand_back()
    async with asyncio.timeout(5):
        assert await driver.fetchval("select 1") == 1


@pytest.mark.blocks
async def test_driver_has_its_transactions_back(driver):
    lane = Lane(driver, MESSAGE_BYTES)
    await run(lane, "select 1")
    lane.hand_back()
    async with driver.transaction():
        assert await driver.fetch("select generate_series(1, 2)") == [(1,), (2,)]


async def test_closed_connection_is_refused(driver):
    await driver.close()
    with pytest.raises(HandOverRefused, match="closed or busy"):
        Lane(driver, MESSAGE_BYTES)


@pytest.mark.blocks
async def test_connection_in_a_transaction_is_refused(driver):
    async with driver.transaction():
        with pytest.raises(HandOverRefused):
            Lane(driver, MESSAGE_BYTES)
    Lane(driver, MESSAGE_BYTES)


@pytest.mark.blocks
async def test_connection_with_a_transaction_behind_the_drivers_back_is_refused(driver):
    await driver.execute("begin")
    with pytest.raises(HandOverRefused):
        Lane(driver, MESSAGE_BYTES)


@pytest.mark.blocks
async def test_connection_whose_transaction_ended_behind_the_drivers_back_is_refused(driver):
    await driver.transaction().start()
    await driver.execute("rollback")
    with pytest.raises(HandOverRefused):
        Lane(driver, MESSAGE_BYTES)


async def test_busy_connection_is_refused(driver):
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(driver.fetchval("select 1 from pg_sleep(0.1)"))
        await poll_until(lambda: driver._stmt_exclusive_section._acquired)
        with pytest.raises(HandOverRefused):
            Lane(driver, MESSAGE_BYTES)
    assert running.result() == 1


async def test_connection_that_cancels_is_refused(driver):
    with pytest.raises(TimeoutError):
        await driver.fetchval("select pg_sleep(60)", timeout=0.05)
    with pytest.raises(HandOverRefused):
        Lane(driver, MESSAGE_BYTES)
    assert await driver.fetchval("select 1") == 1
    Lane(driver, MESSAGE_BYTES)


async def test_connection_that_a_lane_has_already_is_refused(driver):
    Lane(driver, MESSAGE_BYTES)
    with pytest.raises(HandOverRefused):
        Lane(driver, MESSAGE_BYTES)


def test_driver_of_an_unknown_build_is_refused_by_its_version():
    with pytest.raises(HandOverRefused, match=r"asyncpg \d+\.\d+.* is built differently"):
        Lane(SimpleNamespace(_transport=None), MESSAGE_BYTES)


async def test_parameters_that_changed_meanwhile_reach_the_driver(driver):
    lane = Lane(driver, MESSAGE_BYTES)
    for zone in ("Asia/Tokyo", "Europe/Oslo"):
        await lane.send_query(f"set TimeZone = '{zone}'", Discard())
    lane.hand_back()
    assert driver.get_settings().TimeZone == "Europe/Oslo"


async def test_notifications_that_came_meanwhile_reach_their_listeners(direct):
    heard = []

    def listen(_connection, _pid, channel, payload):
        heard.append((channel, payload))

    await direct.add_listener("first", listen)
    await direct.add_listener("second", listen)
    lane = Lane(direct, MESSAGE_BYTES)
    await run(lane, "select pg_notify('first', 'one'), pg_notify('second', 'two')")
    assert heard == []
    lane.hand_back()
    await poll_until(lambda: len(heard) == 2)
    assert heard == [("first", "one"), ("second", "two")]


async def test_only_the_newest_notification_of_a_channel_is_kept(direct):
    """Nobody reads them while the lane has the transport, so their number must be bounded."""
    heard = []
    await direct.add_listener("only", lambda *told: heard.append(told[-1]))
    lane = Lane(direct, MESSAGE_BYTES)
    await run(lane, "select pg_notify('only', n::text) from generate_series(1, 1000) n")
    lane.hand_back()
    await poll_until(lambda: heard)
    assert heard == ["1000"]


async def test_connection_lost_in_a_flight_is_closed_for_the_driver(driver):
    lane = Lane(driver, MESSAGE_BYTES)
    lane.send(build_flight(b"select pg_sleep(1)"), Discard()).cancel()
    lane.abort()
    await poll_until(driver.is_closed)
    assert lane.is_lost
