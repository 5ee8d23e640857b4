"""PgBouncer's pool mode is changed while the service runs: it is seen, and nothing leaks after."""

import asyncpg
import pytest

from tests.fixtures.servers import BouncerKind, Upstream, describe_pgbouncer, run_pgbouncer
from tests.fixtures.service import Client, assert_nothing_left, poll, run_client

RECHECK_S = 0.2
SESSION = {"settings": {"app.tenant": "acme"}}
TENANT = "current_setting('app.tenant', true)"
CHANGES = (
    ("session", "transaction"),
    ("session", "statement"),
    ("transaction", "session"),
    ("transaction", "statement"),
    ("statement", "transaction"),
)


@pytest.fixture(params=["1.18", "1.24"])
def start_bouncer(request, servers):
    """Starts a PgBouncer in a pool mode, which a test may change."""

    def start(pool_mode):
        kind = BouncerKind(request.param, pool_mode, {"default_pool_size": "8"})
        return run_pgbouncer(kind, servers.postgres()), kind

    return start


async def set_pool_mode(upstream: Upstream, pool_mode: str) -> None:
    admin = await asyncpg.connect(upstream.console_dsn)
    try:
        await admin.execute(f"SET pool_mode = '{pool_mode}'")
    finally:
        await admin.close()


def sections(upstream: Upstream, **members: object) -> dict[str, dict[str, object]]:
    told = {"console_dsn": upstream.console_dsn, "recheck_s": RECHECK_S, **members}
    return {"upstream": told, "pool": {"size": 3, "overflow": 0}, "session": SESSION}


async def read_profile(client: Client) -> dict:
    return (await client.operations("/stats")).json


async def is_serving(client: Client, pool_mode: str) -> bool:
    """Whether the profile is the new one; until then requests are served or refused unexecuted."""
    reply = await client.query(f"select {TENANT}")
    assert reply.status == 200 or (reply.status, reply.json["executed"]) == (503, "no"), reply.json
    return (await read_profile(client))["upstream"].get("pool_mode") == pool_mode


@pytest.mark.parametrize("change", CHANGES, ids="-to-".join)
async def test_a_changed_pool_mode_is_served_as_it_needs(start_bouncer, servers, change):
    before, after = change
    running, kind = start_bouncer(before)
    with running as bouncer:
        upstream = describe_pgbouncer(bouncer, kind, servers.postgres())
        async with run_client(upstream, **sections(upstream)) as client:
            assert (await read_profile(client))["upstream"]["pool_mode"] == before
            await set_pool_mode(upstream, after)
            await poll(lambda: is_serving(client, after), "the change isn't seen")
            assert await client.value(f"select {TENANT}") == "acme"
            assert await client.value(f"select {TENANT}", read_only=True) == "acme"
            way = "connect hook" if after == "session" else "flight"
            assert (await read_profile(client))["session"]["app.tenant"] == way
            await assert_nothing_left(client, upstream)


async def test_after_the_change_no_new_server_connection_is_touched(start_bouncer, servers):
    """Those that we had set up before stay as they are, until PgBouncer reconnects."""
    running, kind = start_bouncer("session")
    with running as bouncer:
        upstream = describe_pgbouncer(bouncer, kind, servers.postgres())
        async with run_client(upstream, **sections(upstream)) as client:
            await set_pool_mode(upstream, "transaction")
            await poll(lambda: is_serving(client, "transaction"), "the change isn't seen")
            await reconnect(upstream)
            assert await client.value(f"select {TENANT}") == "acme"
            stranger = await asyncpg.connect(upstream.dsn, statement_cache_size=0)
            seen = [await stranger.fetchval(f"select {TENANT}") for _ in range(8)]
            await stranger.close()
            assert set(seen) <= {None, ""}


async def test_without_a_look_at_it_settings_are_lost(start_bouncer, servers):
    running, kind = start_bouncer("session")
    with running as bouncer:
        upstream = describe_pgbouncer(bouncer, kind, servers.postgres())
        async with run_client(upstream, **sections(upstream, recheck_s=3600)) as client:
            assert await client.value(f"select {TENANT}") == "acme"
            await set_pool_mode(upstream, "transaction")
            await reconnect(upstream)  # each connection of ours keeps its server once more
            seen = [await client.value(f"select {TENANT}") for _ in range(8)]
            assert set(seen) & {None, ""}


async def reconnect(upstream: Upstream) -> None:
    admin = await asyncpg.connect(upstream.console_dsn)
    try:
        await admin.execute("RECONNECT")
    finally:
        await admin.close()


async def test_a_configured_session_mode_that_holds_no_more_is_not_served(start_bouncer, servers):
    running, kind = start_bouncer("session")
    with running as bouncer:
        upstream = describe_pgbouncer(bouncer, kind, servers.postgres())
        told = {"kind": "pgbouncer-session", "console_dsn": None}
        async with run_client(upstream, **sections(upstream, **told)) as client:
            assert await client.value(f"select {TENANT}") == "acme"
            await set_pool_mode(upstream, "transaction")

            async def is_refused() -> bool:
                reply = await client.query("select 1")
                return reply.status == 500 and "set upstream.kind = auto" in reply.json["detail"]

            await poll(is_refused, "it goes on as if sessions were its own")
            assert (await client.operations("/ready")).status != 200
            await set_pool_mode(upstream, "session")

            async def is_served() -> bool:
                return (await client.query("select 1")).status == 200

            await poll(is_served, "it doesn't recover")
            assert await client.value(f"select {TENANT}") == "acme"
