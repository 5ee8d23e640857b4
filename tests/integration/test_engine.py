"""The engine that the settings make: what its connections are, and what becomes of them."""

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from sqlalchemy import event

from proxy.dev.process import find_free_port
from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.factory import EXPIRES_AT
from proxy.errors import PoolTimeout, ProxyError, UpstreamAuth, UpstreamUnavailable
from proxy.settings import Settings
from proxy.stats.counters import Counters
from proxy.stats.events import Event
from tests.fixtures.lane import MESSAGE_BYTES, value
from tests.fixtures.models import run_engine
from tests.fixtures.service import build_settings

pytestmark = pytest.mark.blocks  # a statement pool's engine has no transactions

PID = "select pg_backend_pid()"


@pytest.fixture
def counters():
    return Counters()


@asynccontextmanager
async def run_small(dsn, counters=None, **pool):
    """An engine with one connection, or more."""
    settings = build_settings(dsn, pool={"size": 1, "overflow": 0, **pool})
    async with run_engine(settings, counters and counters.count) as engine:
        yield engine


async def show(engine, name):
    async with engine.connect() as connection:
        return (await connection.exec_driver_sql(f"select current_setting('{name}')")).scalar()


async def open_one(engine, counters=None):
    return await UpstreamConnection.open(
        engine, MESSAGE_BYTES, counters.count if counters else lambda *_: None
    )


def count(counters, kind):
    return counters.tallies[kind].count


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("client_encoding", "UTF8"),
        ("application_name", "pgsidecar"),
        ("DateStyle", "ISO, MDY"),
        ("standard_conforming_strings", "on"),
    ],
)
async def test_connections_begin_with_our_settings(upstream, name, expected):
    async with run_small(upstream.dsn) as engine:
        assert await show(engine, name) == expected


async def test_application_name_and_time_zone_are_the_configured_ones(upstream):
    settings = Settings(
        upstream={"dsn": upstream.dsn, "application_name": "shop"},
        session={"time_zone": "Asia/Tokyo"},
    )
    async with run_engine(settings) as engine:
        assert await show(engine, "application_name") == "shop"
        assert await show(engine, "TimeZone") == "Asia/Tokyo"


async def test_engine_may_be_asked_for_by_sqlalchemys_own_url(upstream):
    dsn = upstream.dsn.replace("postgresql://", "postgresql+asyncpg://")
    async with run_small(dsn) as engine:
        assert await show(engine, "client_encoding") == "UTF8"


async def test_autocommit_engine_never_begins(upstream):
    settings = build_settings(upstream)
    async with run_engine(settings, autocommit=True) as engine, engine.connect() as connection:
        first = (await connection.exec_driver_sql("select now()")).scalar()
        assert (await connection.exec_driver_sql("select now()")).scalar() > first


async def test_pool_holds_size_and_overflow_and_no_more(upstream, counters):
    pool = {"size": 2, "overflow": 1, "checkout_timeout_s": 0.05}
    async with run_small(upstream.dsn, counters, **pool) as engine, AsyncExitStack() as held:
        assert engine.pool.size() == 2
        for _ in range(3):
            await held.enter_async_context(engine.connect())
        with pytest.raises(PoolTimeout, match="held"):
            await open_one(engine)
    assert count(counters, Event.CONNECTION_OPENED) == 3


async def test_overflow_is_closed_as_it_comes_back(upstream, counters):
    async with run_small(upstream.dsn, counters, overflow=1) as engine:
        async with engine.connect(), engine.connect():
            pass
        assert count(counters, Event.CONNECTION_CLOSED) == 1
        assert engine.pool.checkedin() == 1


async def test_pool_events_are_counted(upstream, counters):
    async with run_small(upstream.dsn, counters) as engine:
        for _ in range(3):
            async with engine.connect():
                pass
        assert count(counters, Event.CONNECTION_OPENED) == 1
        assert count(counters, Event.CONNECTION_CHECKED_OUT) == 3
        async with engine.connect() as connection:
            await connection.invalidate()
        assert count(counters, Event.CONNECTION_INVALIDATED) == 1
        assert count(counters, Event.CONNECTION_CLOSED) == 1


async def test_connection_over_its_age_is_replaced_at_checkout(postgres, counters):
    async with run_small(postgres.dsn, counters) as engine:
        async with engine.connect() as connection:
            old = (await connection.exec_driver_sql(PID)).scalar()
            (await connection.get_raw_connection()).info[EXPIRES_AT] = 0
        connection = await open_one(engine, counters)
        assert await value(connection.lane, PID) != str(old)
        assert count(counters, Event.CONNECTION_RETIRED) == 1
        await connection.release()


async def test_connection_ages_with_jitter(upstream):
    async with run_small(upstream.dsn, max_age_s=100) as engine:
        now = Deadline.after(0).at
        connection = await open_one(engine)
        assert now + 80 <= connection._info[EXPIRES_AT] <= Deadline.after(100).at
        assert not connection.is_expired
        await connection.release()


async def test_connection_that_died_in_the_pool_is_replaced_at_checkout(upstream, counters):
    async with run_small(upstream.dsn, counters) as engine:
        async with engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
        driver.terminate()
        connection = await open_one(engine, counters)
        assert await value(connection.lane, "select 1") == "1"
        assert count(counters, Event.CONNECTION_DISCARDED) == 1
        await connection.release()


async def test_connection_that_a_hook_leaves_in_a_transaction_is_told(postgres):
    async with run_small(postgres.dsn) as engine:

        @event.listens_for(engine.sync_engine, "checkout")
        def begin(connection, *_):
            connection.run_async(lambda driver: driver.execute("begin"))

        with pytest.raises(ProxyError, match="can't take over"):
            await open_one(engine)


async def test_first_host_may_be_dead(upstream):
    hosts = f"127.0.0.1:{find_free_port()},127.0.0.1:{upstream.port}"
    dsn = f"postgresql://app@{hosts}/app?target_session_attrs=primary"
    async with run_small(dsn) as engine:
        assert await show(engine, "client_encoding") == "UTF8"


async def test_host_of_the_wrong_kind_is_none(upstream):
    async with run_small(f"{upstream.dsn}?target_session_attrs=standby") as engine:
        with pytest.raises(UpstreamUnavailable, match="target attribute"):
            await open_one(engine)


async def test_dead_host_is_unavailable():
    async with run_small(f"postgresql://app@127.0.0.1:{find_free_port()}/app") as engine:
        with pytest.raises(UpstreamUnavailable) as unavailable:
            await open_one(engine)
    assert (unavailable.value.phase, unavailable.value.executed) == ("connect", "no")


async def test_unknown_database_is_a_matter_of_configuration(upstream):
    async with run_small(upstream.dsn.removesuffix("/app") + "/nowhere") as engine:
        with pytest.raises(UpstreamAuth, match="nowhere"):
            await open_one(engine)


async def test_host_that_never_answers_is_given_up():
    async with silent_port() as port:
        settings = Settings(
            upstream={"dsn": f"postgresql://app@127.0.0.1:{port}/app", "connect_timeout_s": 0.1}
        )
        async with run_engine(settings) as engine, asyncio.timeout(2):
            with pytest.raises(UpstreamUnavailable, match="doesn't answer in time"):
                await open_one(engine)


async def test_option_that_does_not_exist_is_told_as_a_mistake_in_the_dsn():
    async with run_small("postgresql://app@127.0.0.1/app?target_session_attrs=best") as engine:
        with pytest.raises(ProxyError, match=r"upstream\.dsn can't be used"):
            await open_one(engine)


@asynccontextmanager
async def silent_port():
    """A port that accepts connections and says nothing."""
    silence = asyncio.Event()

    async def say_nothing(_reader, writer):
        await silence.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        silence.set()
