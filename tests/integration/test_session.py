"""The configured session holds for every statement, on every upstream, and for nobody else."""

import asyncio

import asyncpg
import pytest

from proxy.errors import ProxyError
from tests.fixtures.service import Client, observe, run_client

pytestmark = pytest.mark.matrix

NAMES = ("TimeZone", "search_path", "app.tenant", "statement_timeout", "role", "work_mem")
READ = "select " + ", ".join(f"coalesce(current_setting('{name}', true), '')" for name in NAMES)
SESSION = {
    "time_zone": "Asia/Tokyo",
    "settings": {"search_path": "information_schema", "app.tenant": "9", "statement_timeout": "7s"},
    "role": "cashier",
    "hooks": ["SET work_mem = '1234kB'"],
}
CONFIGURED = ["Asia/Tokyo", "information_schema", "9", "7s", "cashier", "1234kB"]
PLAIN = ["UTC", '"$user", public', "", "0", "none", "4MB"]


@pytest.fixture(scope="module", autouse=True)
async def role(upstream):
    async with observe(upstream) as admin:
        await admin.execute("create role cashier; grant cashier to app")
        yield
        await admin.execute("drop role cashier")


@pytest.fixture
async def service(upstream):
    async with run_client(upstream, session=SESSION, pool={"size": 4, "overflow": 0}) as client:
        yield client


async def read(client: Client, **members):
    (row,) = await client.rows(READ, rows="arrays", **members)
    return row


async def read_as_stranger(upstream, times):
    """What another application finds set, statement by statement."""
    stranger = await asyncpg.connect(upstream.dsn, statement_cache_size=0)
    try:
        return [list(await stranger.fetchrow(READ)) for _ in range(times)]
    finally:
        await stranger.close()


async def test_the_session_holds_for_every_statement_and_never_reaches_strangers(service, upstream):
    async with asyncio.TaskGroup() as group:
        ours = [group.create_task(read(service)) for _ in range(200)]
        strangers = [group.create_task(read_as_stranger(upstream, 25)) for _ in range(4)]
    assert [task.result() for task in ours] == [CONFIGURED] * 200
    assert [task.result() for task in strangers] == [[PLAIN] * 25] * 4


async def test_a_failed_statement_takes_nothing_of_the_session_along(service, upstream):
    for _ in range(8):
        assert (await service.query("select 1/0")).json["sqlstate"] == "22012"
        assert await read(service) == CONFIGURED
    assert await read_as_stranger(upstream, 8) == [PLAIN] * 8


async def test_the_settings_of_a_request_win_for_its_statement_alone(service):
    settings = {"app.tenant": "1", "TimeZone": "UTC", "statement_timeout": "3s"}
    wanted = ["UTC", "information_schema", "1", "3s", "cashier", "1234kB"]
    assert await read(service, settings=settings) == wanted
    assert await read(service) == CONFIGURED


async def test_the_statement_timeout_of_the_session_is_in_force(upstream):
    session = {"settings": {"statement_timeout": "100ms"}}
    async with run_client(upstream, session=session) as client:
        reply = await client.query("select pg_sleep(30)")
    assert (reply.status, reply.json["title"]) == (504, "statement_timeout")


@pytest.mark.parametrize("options", [{"isolation": "serializable"}, {"read_only": True}])
async def test_the_session_holds_beside_options(service, options):
    assert await read(service, **options) == CONFIGURED


async def test_an_exchange_of_postgres_for_pgbouncer_needs_no_other_change(service, upstream):
    """The same settings object, but for the DSN."""
    direct = upstream.postgres_dsn.replace("postgres@", "app@")
    sql = "select now()::text like '%+09', current_user::text, count(*) from sql_features"
    async with run_client(direct, session=SESSION) as before:
        expected = await read(before), await before.rows(sql)
    assert (await read(service), await service.rows(sql)) == expected


async def test_a_pool_of_one_is_proven_at_once(upstream):
    """The proof has to do with the one connection that there is."""
    pool = {"size": 1, "overflow": 0, "idle_s": 60, "checkout_timeout_s": 1}
    async with asyncio.timeout(5), run_client(upstream, session=SESSION, pool=pool) as client:
        assert await read(client) == CONFIGURED


async def test_a_time_zone_that_does_not_exist_fails_the_start(upstream):
    with pytest.raises(ProxyError, match=r"(?i)time ?zone|server parameter"):
        async with run_client(upstream, session={"time_zone": "Nowhere/Else"}):
            pass
