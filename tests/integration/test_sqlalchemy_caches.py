"""Nothing about a statement is remembered: not on the server, not in the driver, not in SQLAlchemy.

Each guard has a twin that switches a cache on again and sees the harm.
"""

import asyncio
from contextlib import asynccontextmanager

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from proxy.dev.pgbouncer import LocalPgBouncer
from proxy.engine import factory
from tests.fixtures.models import run_engine, run_used_engine
from tests.fixtures.servers import find_binary
from tests.fixtures.service import build_settings, observe

pytestmark = pytest.mark.blocks  # a statement pool's engine has no transactions

REAL_AS_INT = 1088421888  # the four bytes of 7.0::real, read as an integer
PREPARED = "select count(*) from pg_prepared_statements where statement like '%' || :mark || '%'"
ENGINES = {"fresh": run_engine, "lane-worn": run_used_engine}
CLIENTS = 6  # on the two servers of PgBouncer
SHOW_JIT = "select current_setting('jit') from pg_sleep(0.02)"


@pytest.fixture(params=ENGINES)
async def engine(request, upstream):
    settings = build_settings(upstream, pool={"size": 2, "overflow": 0})
    async with ENGINES[request.param](settings) as engine:
        yield engine


@asynccontextmanager
async def run_ordinary_engine(dsn, **connect_args):
    """An engine as people make it."""
    url = dsn.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, connect_args=connect_args)
    try:
        yield engine
    finally:
        await engine.dispose()


async def count_prepared(engine):
    async with engine.connect() as connection:
        for _ in range(5):
            await connection.execute(text("select :n /* remember me */"), {"n": "1"})
        return await connection.scalar(text(PREPARED), {"mark": "remember" + " me"})


async def test_no_statement_stays_prepared_on_the_server(engine):
    assert await count_prepared(engine) == 0


async def test_ordinary_engine_leaves_its_statements_on_the_server(postgres):
    async with run_ordinary_engine(postgres.dsn) as engine:
        assert await count_prepared(engine) > 0


@pytest.fixture
async def administrator(upstream):
    """Somebody else, who changes the table `drifting` while we use it."""
    async with observe(upstream) as connection:
        await connection.execute(
            "create table drifting (n int); insert into drifting values (7); "
            "grant select on drifting to app"
        )
        yield connection
        await connection.execute("drop table drifting")


async def read_across_ddl(engine, administrator):
    """The same select on the same connection before and after its column's type changes."""
    seen = []
    for column_type in ("real", "int"):
        async with engine.connect() as connection:
            seen.append(await connection.scalar(text("select n from drifting")))
        await administrator.execute(f"alter table drifting alter n type {column_type}")
    return seen


async def test_changed_type_is_seen_at_once(engine, administrator):
    assert await read_across_ddl(engine, administrator) == [7, 7.0]


async def test_with_sqlalchemys_cache_alone_a_changed_type_is_silently_wrong(
    upstream, administrator
):
    caches = {"statement_cache_size": 0, "prepared_statement_cache_size": 100}
    async with run_ordinary_engine(upstream.dsn, **caches) as engine:
        assert await read_across_ddl(engine, administrator) == [7, REAL_AS_INT]


@pytest.fixture
def bouncer(postgres):
    """A PgBouncer with two servers that nobody else uses."""
    with LocalPgBouncer(find_binary("1.24"), postgres.port) as bouncer:
        yield bouncer


async def look_types_up(bouncer):
    """Read an enum for the first time on many connections; returns what that made of `jit`."""
    settings = build_settings(bouncer.dsn, pool={"size": CLIENTS, "overflow": 0})
    for _ in range(6):
        async with run_engine(settings) as engine:
            await on_every_connection(engine, "select 'happy'::mood")
    async with run_engine(settings) as engine:
        return set(await on_every_connection(engine, SHOW_JIT))


async def on_every_connection(engine, sql):
    """Run a statement on each connection at once, so that both servers are used."""

    async def run():
        async with engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
            return await driver.fetchval(sql)

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(run()) for _ in range(CLIENTS)]
    return [task.result() for task in running]


async def test_looking_up_a_type_leaves_jit_as_it_was(bouncer):
    assert await look_types_up(bouncer) == {"on"}


async def test_the_drivers_own_look_up_switches_jit_off_for_strangers(bouncer, monkeypatch):
    monkeypatch.setattr(factory, "_switch_jit_lookup_off", lambda _: None)
    assert "off" in await look_types_up(bouncer)
