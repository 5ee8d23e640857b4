"""The upstream is what the profile says, on every combination of the matrix."""

import asyncio
import contextlib

import asyncpg
import pytest

from proxy.dev.pgbouncer import PoolMode
from proxy.dev.postgres import EmbeddedPostgres
from proxy.engine import probe, profile
from proxy.engine.probe import probe_pool_mode, probe_tracking
from proxy.errors import ProxyError, UpstreamUnavailable
from tests.fixtures.detection import detect, hold, run_bouncer
from tests.fixtures.servers import BOUNCERS, OTHER_BOUNCERS, Servers, Upstream
from tests.fixtures.service import poll
from tests.fixtures.tcp_proxy import TcpProxy

MODES: tuple[PoolMode, ...] = ("session", "transaction", "statement")


@pytest.mark.matrix
async def test_kind_and_pool_mode_are_found_without_being_told(upstream: Upstream):
    found = await detect(upstream.dsn)
    assert (found.kind, found.pool_mode) == (upstream.kind, upstream.pool_mode)
    assert found.pool_mode_evidence == ("probe" if upstream.pool_mode else None)


@pytest.mark.matrix
async def test_only_a_direct_session_is_proven_without_being_told(upstream: Upstream):
    found = await detect(upstream.dsn)
    assert found.is_session_proven == (upstream.kind == "postgres")


@pytest.mark.matrix
async def test_prepared_statements_are_tracked_where_pgbouncer_renames_them(upstream: Upstream):
    found = await detect(upstream.dsn)
    if upstream.bouncer is None:
        assert found.tracks_prepared is None
        return
    is_on = upstream.bouncer.options.get("max_prepared_statements") == "200"
    assert found.tracks_prepared == (is_on and upstream.pool_mode != "session")


@pytest.mark.matrix
async def test_the_server_behind_is_described(upstream: Upstream):
    found = await detect(upstream.dsn)
    async with hold(upstream.postgres_dsn) as connection:
        version = await connection.fetchval("show server_version")
        number = await connection.fetchval("show server_version_num")
    assert (found.server_version, found.server_version_num) == (version, int(number))
    assert found.is_primary


@pytest.mark.matrix
async def test_detection_leaves_no_connection_behind(upstream: Upstream):
    async with TcpProxy("127.0.0.1", upstream.port) as proxy:

        async def is_quiet() -> bool:
            return not proxy._writers

        await detect(f"postgresql://app@127.0.0.1:{proxy.port}/app")
        assert 1 <= proxy.connections_total <= 3
        await poll(is_quiet, "a connection of the detection is left")


@pytest.mark.matrix
async def test_detection_leaves_no_named_statement_behind(upstream: Upstream):
    await detect(upstream.dsn)
    async with hold(upstream.dsn) as connection:
        assert await connection.fetchval("select count(*) from pg_prepared_statements") == 0


@pytest.mark.parametrize("user", ["admin", "stats"])
@pytest.mark.parametrize("name", BOUNCERS | OTHER_BOUNCERS)
async def test_console_tells_mode_and_version(servers: Servers, name, user):
    upstream = servers.upstream(name)
    found = await detect(upstream.dsn, console_dsn=upstream.console_dsn.replace("admin", user))
    assert (found.pool_mode, found.pool_mode_evidence) == (upstream.pool_mode, "console")
    assert found.is_session_proven == (upstream.pool_mode == "session")
    assert found.pgbouncer_version.startswith(upstream.bouncer.version)


@pytest.mark.parametrize("mode", MODES)
async def test_round_robin_hides_nothing(servers: Servers, mode):
    with run_bouncer(servers, mode, server_round_robin="1") as bouncer:
        assert (await detect(bouncer.dsn)).pool_mode == mode


async def test_sharing_shows_under_the_load_of_others(servers: Servers):
    async def work(connection: asyncpg.Connection) -> None:
        while True:
            await connection.fetchval("select count(*) from users")

    with run_bouncer(servers) as bouncer:
        async with contextlib.AsyncExitStack() as stack:
            others = [await stack.enter_async_context(hold(bouncer.dsn)) for _ in range(6)]
            load = [asyncio.ensure_future(work(connection)) for connection in others]
            found = [await detect(bouncer.dsn) for _ in range(5)]
            for task in load:
                task.cancel()
            await asyncio.wait(load)
    assert {profile.pool_mode for profile in found} == {"transaction"}


async def test_a_full_session_pool_is_told_by_its_queue(servers: Servers, monkeypatch):
    monkeypatch.setattr(probe, "QUEUE_S", 0.2)
    with run_bouncer(servers, "session", default_pool_size="1") as bouncer:
        found = await detect(bouncer.dsn)
    assert found.pool_mode == "session"
    assert not found.is_session_proven
    assert "no server of its own" in found.evidence


async def test_a_queue_that_pgbouncer_ends_itself_is_a_queue_too(servers: Servers, monkeypatch):
    monkeypatch.setattr(probe, "QUEUE_S", 5)
    options = {"default_pool_size": "1", "query_wait_timeout": "1"}
    with run_bouncer(servers, "session", **options) as bouncer:
        found = await detect(bouncer.dsn)
    assert found.pool_mode == "session"


async def test_one_server_for_all_is_sharing(servers: Servers):
    with run_bouncer(servers, default_pool_size="1") as bouncer:
        assert (await detect(bouncer.dsn)).pool_mode == "transaction"


async def test_a_pool_without_a_free_server_is_unavailable_in_time(servers: Servers):
    with run_bouncer(servers, "session", default_pool_size="1") as bouncer:
        async with hold(bouncer.dsn):
            with pytest.raises(UpstreamUnavailable, match="in time"):
                await detect(bouncer.dsn, connect_timeout_s=0.3)


async def test_the_pool_mode_of_a_database_counts_not_the_general_one(servers: Servers):
    databases = {"alias": "dbname=app pool_mode=statement"}
    with run_bouncer(servers, "session", databases) as bouncer:
        dsn = bouncer.dsn.removesuffix("app") + "alias"
        found = await detect(dsn, console_dsn=bouncer.console_dsn)
        assert (found.pool_mode, found.pool_mode_evidence) == ("statement", "console")
        assert "SHOW POOLS" in found.evidence
        assert (await detect(dsn)).pool_mode == "statement"


async def test_a_pool_is_found_under_the_user_that_pgbouncer_forces(servers: Servers):
    with run_bouncer(servers, "session", {"alias": "dbname=app user=postgres"}) as bouncer:
        dsn = bouncer.dsn.removesuffix("app") + "alias"
        found = await detect(dsn, console_dsn=bouncer.console_dsn)
    assert "SHOW POOLS" in found.evidence


async def test_a_console_without_our_pool_tells_the_databases_mode(servers: Servers):
    upstream = servers.upstream("transaction")
    databases = {"app": "dbname=app pool_mode=transaction"}
    with run_bouncer(servers, "session", databases) as other:
        found = await detect(upstream.dsn, console_dsn=other.console_dsn)
    assert (found.pool_mode, found.pool_mode_evidence) == ("transaction", "console")
    assert "SHOW DATABASES" in found.evidence


async def test_a_console_that_knows_no_more_tells_the_general_mode(servers: Servers):
    upstream = servers.upstream("transaction")
    with run_bouncer(servers, "transaction") as other:
        found = await detect(upstream.dsn, console_dsn=other.console_dsn)
    assert "SHOW CONFIG" in found.evidence


async def test_a_console_of_another_pgbouncer_cannot_make_a_shared_pool_a_session(servers: Servers):
    upstream = servers.upstream("transaction")
    with run_bouncer(servers, "session") as other:
        found = await detect(upstream.dsn, console_dsn=other.console_dsn)
    assert (found.pool_mode, found.pool_mode_evidence) == ("transaction", "probe")
    assert not found.is_session_proven


@pytest.mark.parametrize("mode", MODES)
async def test_an_unreachable_console_leaves_it_to_the_probe(servers: Servers, mode):
    upstream = servers.upstream(mode)
    found = await detect(upstream.dsn, console_dsn="postgresql://admin@127.0.0.1:1/pgbouncer")
    assert (found.pool_mode, found.pool_mode_evidence) == (mode, "probe")
    assert "its console is no help" in found.evidence


async def test_a_console_that_refuses_us_leaves_it_to_the_probe(servers: Servers):
    upstream = servers.upstream("transaction")
    with run_bouncer(servers, auth_type="md5") as strict:
        console_dsn = strict.console_dsn.replace("admin", "admin:wrong")
        found = await detect(upstream.dsn, console_dsn=console_dsn)
    assert found.pool_mode_evidence == "probe"
    assert "authentication failed" in found.evidence
    assert "wrong" not in found.evidence


async def test_a_console_that_says_nothing_leaves_it_to_the_probe(servers: Servers, monkeypatch):
    monkeypatch.setattr(profile, "CONSOLE_S", 0.2)
    upstream = servers.upstream("transaction")
    async with TcpProxy("127.0.0.1", upstream.port) as proxy:
        proxy.stall()
        console_dsn = f"postgresql://admin@127.0.0.1:{proxy.port}/pgbouncer"
        found = await detect(upstream.dsn, console_dsn=console_dsn)
    assert found.pool_mode_evidence == "probe"


async def test_a_console_address_that_leads_to_a_database_leaves_it_to_the_probe(servers: Servers):
    upstream = servers.upstream("transaction")
    found = await detect(upstream.dsn, console_dsn=upstream.dsn)
    assert found.pool_mode_evidence == "probe"


async def test_a_configured_session_mode_is_proven(servers: Servers):
    found = await detect(servers.upstream("session").dsn, kind="pgbouncer-session")
    assert (found.pool_mode, found.pool_mode_evidence) == ("session", "configuration")
    assert found.is_session_proven


async def test_a_configured_transaction_mode_holds_for_a_session_pool(servers: Servers):
    found = await detect(servers.upstream("session").dsn, kind="pgbouncer-transaction")
    assert (found.pool_mode, found.pool_mode_evidence) == ("transaction", "configuration")


async def test_configuration_outdoes_the_console(servers: Servers):
    upstream = servers.upstream("session")
    kind = "pgbouncer-statement"
    found = await detect(upstream.dsn, console_dsn=upstream.console_dsn, kind=kind)
    assert (found.pool_mode, found.pool_mode_evidence) == ("statement", "configuration")
    assert found.pgbouncer_version is not None


@pytest.mark.parametrize("mode", ["transaction", "statement"])
async def test_a_configured_session_mode_is_refused_where_servers_are_shared(
    servers: Servers, mode
):
    with pytest.raises(ProxyError, match=f"pool mode is {mode}: .* upstream.kind = auto"):
        await detect(servers.upstream(mode).dsn, kind="pgbouncer-session")


async def test_a_configured_postgres_is_refused_where_a_pgbouncer_answers(servers: Servers):
    with pytest.raises(ProxyError, match=r"leads to a PgBouncer: .*upstream.kind = auto"):
        await detect(servers.upstream("transaction").dsn, kind="postgres")


async def test_a_configured_pgbouncer_is_refused_where_postgres_answers(postgres):
    with pytest.raises(ProxyError, match=r"leads to Postgres itself: .*upstream.kind = auto"):
        await detect(postgres.dsn, kind="pgbouncer-session")


async def test_a_configured_postgres_is_accepted(postgres):
    assert (await detect(postgres.dsn, kind="postgres")).kind == "postgres"


@pytest.mark.parametrize(
    ("run_probe", "error"),
    [(probe_tracking, UpstreamUnavailable), (probe_pool_mode, asyncpg.PostgresError)],
)
async def test_a_probe_that_loses_its_connection_says_so(postgres, run_probe, error):
    async with (
        TcpProxy("127.0.0.1", postgres.port) as proxy,
        hold(f"postgresql://app@127.0.0.1:{proxy.port}/app") as connection,
    ):
        proxy.stall()
        asyncio.get_running_loop().call_soon(proxy.cut)
        with pytest.raises(error, match=r"connection .*was (lost|closed)"):
            await run_probe(connection, 65536)


async def test_a_standby_is_no_primary(home):
    server = EmbeddedPostgres(home / "standby")
    with server:
        pass
    (server.data_dir / "18" / "standby.signal").touch()
    with server:
        assert not (await detect(server.dsn)).is_primary
