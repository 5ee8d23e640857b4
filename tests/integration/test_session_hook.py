"""Hooks and settings that hold, and those that can't, which the start refuses with the remedy."""

import asyncio

import pytest

from proxy.errors import ProxyError
from tests.fixtures.servers import BOUNCERS, OTHER_BOUNCERS
from tests.fixtures.service import Client, run_client

POOL = {"size": 3, "overflow": 0}
DIRECT = ("postgres", "postgres-15")
SHARED = (*BOUNCERS, *OTHER_BOUNCERS)  # session mode too: sharing that isn't seen is no proof
IN_SESSION_MODE = [name for name in SHARED if name.endswith("session")]

SET_HOOKS = ["SET TIME ZONE 'Europe/Vienna'", "SET app.x = 'it''s'", "set search_path to a, b;"]
READ = (
    "select current_setting('TimeZone'), current_setting('app.x'), current_setting('search_path')"
)
SEEN = ["Europe/Vienna", "it's", "a, b"]
OPAQUE_HOOKS = [
    "select set_config('app.x', '1', false)",
    "set work_mem to default",
    "create temp table hooked as select 1 as a",
    "do $$ begin set app.x = '1'; end $$",
]
REMEDIES = ("SET name = value", "ALTER ROLE … SET", "upstream.kind = pgbouncer-session")


@pytest.fixture(params=DIRECT)
def direct(request, servers):
    return servers.upstream(request.param)


@pytest.fixture(params=SHARED)
def shared(request, servers):
    return servers.upstream(request.param)


@pytest.fixture(params=IN_SESSION_MODE)
def private(request, servers):
    """A PgBouncer whose pool mode gives us a session of our own."""
    return servers.upstream(request.param)


async def start(upstream, **session):
    """Start a service and stop it."""
    async with run_client(upstream, pool=POOL, session=session):
        pass


async def assert_held(client: Client):
    """Many statements at once, on every connection."""
    answers = await asyncio.gather(*(client.rows(READ, rows="arrays") for _ in range(30)))
    assert answers == [[SEEN]] * 30


@pytest.mark.matrix
async def test_a_hook_that_sets_holds_for_every_statement(upstream):
    async with run_client(upstream, session={"hooks": SET_HOOKS}, pool=POOL) as client:
        await assert_held(client)


@pytest.mark.parametrize("hook", OPAQUE_HOOKS)
async def test_any_hook_runs_on_postgres_itself(direct, hook):
    async with run_client(direct, session={"hooks": [*SET_HOOKS[:1], hook]}, pool=POOL) as client:
        assert await client.value("select current_setting('TimeZone')") == "Europe/Vienna"


@pytest.mark.parametrize("proof", ["kind", "console"])
async def test_any_hook_runs_where_session_mode_is_told(private, proof):
    told = {"kind": {"kind": "pgbouncer-session"}, "console": {"console_dsn": private.console_dsn}}
    session = {"hooks": [*SET_HOOKS, OPAQUE_HOOKS[2]]}
    async with run_client(private, session=session, pool=POOL, upstream=told[proof]) as client:
        await assert_held(client)
        assert await client.value("select a from hooked") == 1


@pytest.mark.parametrize("hook", OPAQUE_HOOKS)
async def test_a_hook_that_can_not_hold_is_refused_with_the_remedy(shared, hook):
    with pytest.raises(ProxyError) as refusal:
        await start(shared, hooks=[hook])
    assert all(remedy in refusal.value.detail for remedy in REMEDIES)


@pytest.mark.parametrize(
    "session",
    [
        {"settings": {"default_transaction_read_only": "on"}},
        {"hooks": ["set Default_Transaction_Isolation = 'serializable'"]},
    ],
)
async def test_what_a_transaction_reads_as_it_begins_is_refused_with_the_remedy(shared, session):
    with pytest.raises(ProxyError) as refusal:
        await start(shared, **session)
    assert all(remedy in refusal.value.detail for remedy in REMEDIES[1:])


async def test_what_a_transaction_reads_as_it_begins_holds_on_postgres_itself(direct):
    session = {"settings": {"default_transaction_read_only": "on"}}
    async with run_client(direct, session=session) as client:
        reply = await client.query("delete from users")
    assert (reply.status, reply.json["sqlstate"]) == (403, "25006")


@pytest.mark.matrix
async def test_a_hook_may_not_change_how_values_are_read(upstream):
    with pytest.raises(ProxyError, match="sets DateStyle, which pgsidecar sets itself"):
        await start(upstream, hooks=["set DateStyle = 'German'"])


@pytest.mark.parametrize("sql", ["selekt 1", "set enable_wings = on"])
async def test_a_hook_that_fails_stops_the_start(direct, sql):
    with pytest.raises(ProxyError, match=r"^the connect hooks failed: \w+"):
        await start(direct, hooks=[sql])


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("session", "name"),
    [
        ({"settings": {"enable_wings": "on"}}, "enable_wings"),
        ({"settings": {"work_mem": "lots"}}, "work_mem"),
        ({"settings": {"max_connections": "5"}}, "max_connections"),
        ({"settings": {"TimeZone": "Mars/Phobos"}}, "TimeZone"),
        ({"role": "nobody_knows"}, "role"),
        ({"hooks": ["set work_mem = 'lots'"]}, "work_mem"),
    ],
)
async def test_what_the_server_refuses_stops_the_start_with_its_name(upstream, session, name):
    with pytest.raises(ProxyError) as refusal:
        await start(upstream, **session)
    assert name in refusal.value.detail
    assert refusal.value.detail.count("\n") == 0


async def test_a_role_comes_behind_the_settings_that_it_may_not_set(pgbouncer_transaction):
    session = {
        "role": "pg_monitor",
        "allowed_roles": ["pg_monitor"],
        "allowed_settings": ["log_duration"],
    }
    dsn = pgbouncer_transaction.dsn.replace("app@", "postgres@")
    async with run_client(dsn, session=session) as client:
        sql = "select current_user::text || ' ' || current_setting('log_duration')"
        options = {"settings": {"log_duration": "on"}, "role": "pg_monitor"}
        assert await client.value(sql, **options) == "pg_monitor on"
