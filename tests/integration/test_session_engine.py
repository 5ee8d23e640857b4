"""What SQLAlchemy's engine finds set, beside the lanes and after a rollback."""

import pytest
from sqlalchemy import text

from tests.fixtures.service import run_client

OURS = ("postgres", "postgres-15", "session", "1.18-session", "1.24-untracked-session")
SESSION = {
    "time_zone": "Asia/Tokyo",
    "settings": {"app.tenant": "9", "statement_timeout": "7s"},
    "hooks": ["set search_path = information_schema"],
}
SEEN = ("Asia/Tokyo", "9", "7s", "information_schema")
READ = text(
    "select current_setting('TimeZone'), current_setting('app.tenant'), "
    "current_setting('statement_timeout'), current_setting('search_path')"
)
POOL = {"size": 2, "overflow": 0}


@pytest.fixture(params=OURS)
async def ours(request, servers):
    """A service whose sessions are its own, since we are told so where that takes PgBouncer."""
    upstream = servers.upstream(request.param)
    told = {"kind": "auto" if upstream.kind == "postgres" else "pgbouncer-session"}
    async with run_client(upstream, session=SESSION, pool=POOL, upstream=told) as client:
        yield client


async def read(engine):
    async with engine.connect() as connection:
        return tuple((await connection.execute(READ)).one())


async def test_the_engine_finds_the_session_again_after_every_rollback(ours):
    engine = ours.service.upstream.connected.engine
    await ours.service.upstream.connected.lanes.release_idle()
    async with engine.connect() as connection:
        for _ in range(3):
            assert tuple((await connection.execute(READ)).one()) == SEEN
            await connection.rollback()


async def test_the_engine_finds_the_session_at_every_checkout(ours):
    connected = ours.service.upstream.connected
    for _ in range(3):
        assert await ours.value("select current_setting('app.tenant')") == "9"
        await connected.lanes.release_idle()
        assert [await read(connected.engine) for _ in range(3)] == [SEEN] * 3


async def test_a_rollback_undoes_what_was_set_in_a_transaction_alone(ours):
    await ours.service.upstream.connected.lanes.release_idle()
    async with ours.service.upstream.connected.engine.connect() as connection:
        await connection.execute(text("set app.tenant = '10'"))
        await connection.rollback()
        assert tuple((await connection.execute(READ)).one()) == SEEN


@pytest.mark.matrix
async def test_the_time_zone_of_the_engine_survives_a_rollback_behind_every_pool(upstream):
    session = {"time_zone": "Asia/Tokyo"}
    async with run_client(upstream, session=session, pool=POOL) as client:
        await client.service.upstream.connected.lanes.release_idle()
        async with client.service.upstream.connected.engine.connect() as connection:
            for _ in range(3):
                zone = await connection.scalar(text("select current_setting('TimeZone')"))
                assert zone == "Asia/Tokyo"
                await connection.rollback()
