"""`connect` events of the application: which form of SET survives the pool's first rollback."""

import pytest
from sqlalchemy import event, text

from proxy.engine.connection import UpstreamConnection
from tests.fixtures.lane import MESSAGE_BYTES, value
from tests.fixtures.models import run_engine
from tests.fixtures.service import build_settings

TOKYO = "Asia/Tokyo"
SHOW_ZONE = "select current_setting('TimeZone')"
SET_ZONE = f"set time zone '{TOKYO}'"


@pytest.fixture
async def engine(postgres):
    """Directly on Postgres: what is set in a session of PgBouncer's leaks to strangers."""
    async with run_engine(build_settings(postgres.dsn, pool={"size": 1, "overflow": 0})) as engine:
        yield engine


async def read_zones(engine):
    """The time zone that three checkouts see, one after the other, each ended by a rollback."""
    zones = []
    for _ in range(3):
        async with engine.connect() as connection:
            zones.append(await connection.scalar(text(SHOW_ZONE)))
    return zones


async def test_event_sees_every_new_connection_once(engine):
    seen = []
    event.listen(engine.sync_engine, "connect", lambda connection, _: seen.append(connection))
    await read_zones(engine)
    assert len(seen) == 1


async def test_setting_by_the_driver_stays_before_and_after_the_lane(engine):
    @event.listens_for(engine.sync_engine, "connect")
    def set_zone(connection, _record):
        connection.run_async(lambda driver: driver.execute(SET_ZONE))

    assert await read_zones(engine) == [TOKYO, TOKYO, TOKYO]
    connection = await UpstreamConnection.open(engine, MESSAGE_BYTES, lambda *_: None)
    oslo = {"TimeZone": "Europe/Oslo"}
    assert await value(connection.lane, SHOW_ZONE, settings=oslo) == "Europe/Oslo"
    assert await value(connection.lane, SHOW_ZONE) == TOKYO
    await connection.release()
    assert await read_zones(engine) == [TOKYO, TOKYO, TOKYO]


async def test_setting_by_a_cursor_is_undone_by_the_first_rollback(engine):
    @event.listens_for(engine.sync_engine, "connect")
    def set_zone(connection, _record):
        connection.cursor().execute(SET_ZONE)

    first, *rest = await read_zones(engine)
    assert first == TOKYO
    assert TOKYO not in rest
