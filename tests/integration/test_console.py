"""PgBouncer's console, read through the lane."""

from contextlib import AbstractAsyncContextManager

import pytest

from proxy.dev.pgbouncer import LocalPgBouncer
from proxy.engine.console import Console
from proxy.errors import SqlError, UpstreamAuth, UpstreamUnavailable
from proxy.settings import Settings
from tests.fixtures.servers import Servers, find_binary
from tests.fixtures.tcp_proxy import TcpProxy

COLUMNS = {
    "CONFIG": "key",
    "DATABASES": "port",
    "POOLS": "pool_mode",
    "STATS": "total_query_count",
    "CLIENTS": "addr",
    "LISTS": "list",
    "USERS": "name",
}


def open_console(dsn: str | None, timeout_s: float = 5) -> AbstractAsyncContextManager[Console]:
    upstream = {"dsn": "postgresql://u@h/d", "console_dsn": dsn}
    return Console.open(Settings(upstream=upstream), timeout_s)


@pytest.fixture(params=["admin", "stats"])
def user(request) -> str:
    return request.param


@pytest.fixture(params=["transaction", "1.18-transaction"])
def bouncer(request, servers: Servers) -> LocalPgBouncer:
    return servers.bouncer(request.param)


@pytest.fixture
def version(bouncer: LocalPgBouncer) -> str:
    return bouncer.binary.parent.name


async def test_tables_are_read_by_name(bouncer, user):
    async with open_console(bouncer.console_dsn.replace("admin", user)) as console:
        for table, column in COLUMNS.items():
            rows = await console.show(table)
            assert rows[0][column], table


async def test_version_is_told(bouncer, version):
    async with open_console(bouncer.console_dsn) as console:
        (row,) = await console.show("VERSION")
    assert row["version"].startswith(f"PgBouncer {version}.")


async def test_our_own_client_is_listed_with_its_name(bouncer):
    async with open_console(bouncer.console_dsn) as console:
        clients = await console.show("CLIENTS")
    (ours,) = [row for row in clients if row["database"] == "pgbouncer"]
    assert ours["application_name"] == "pgsidecar"


async def test_columns_differ_between_versions(bouncer, version):
    async with open_console(bouncer.console_dsn) as console:
        (database, *_) = await console.show("DATABASES")
    assert ("reserve_pool" in database) == (version == "1.18")
    assert ("reserve_pool_size" in database) == (version == "1.24")


async def test_an_unset_value_is_none(bouncer):
    async with open_console(bouncer.console_dsn) as console:
        (database, *_) = await console.show("DATABASES")
    assert database["pool_mode"] is None


async def test_an_unknown_table_is_pgbouncers_own_error_and_the_next_works(bouncer):
    async with open_console(bouncer.console_dsn) as console:
        with pytest.raises(SqlError, match="SHOW HELP"):
            await console.show("NOTHING")
        assert await console.show("VERSION")


async def test_what_needs_an_admin_is_refused_for_a_stats_user(bouncer):
    async with open_console(bouncer.console_dsn.replace("admin", "stats")) as console:
        with pytest.raises(SqlError, match="admin access needed"):
            await console.show("FDS")


async def test_an_ordinary_user_is_refused(bouncer):
    with pytest.raises(UpstreamAuth, match=r"PgBouncer's console: .*not allowed"):
        async with open_console(bouncer.console_dsn.replace("admin", "app")):
            pass


async def test_a_wrong_password_is_refused(servers):
    strict = LocalPgBouncer(
        find_binary("1.24"), servers.postgres().port, options={"auth_type": "md5"}
    )
    with strict, pytest.raises(UpstreamAuth, match="authentication failed"):
        async with open_console(strict.console_dsn.replace("admin", "admin:wrong")):
            pass


async def test_nobody_listening_is_unavailable():
    with pytest.raises(UpstreamUnavailable, match="PgBouncer's console"):
        async with open_console("postgresql://admin@127.0.0.1:1/pgbouncer"):
            pass


async def test_a_login_without_an_answer_ends_at_the_deadline(bouncer):
    async with TcpProxy("127.0.0.1", bouncer.port) as proxy:
        proxy.stall()
        dsn = f"postgresql://admin@127.0.0.1:{proxy.port}/pgbouncer"
        with pytest.raises(UpstreamUnavailable, match="in time"):
            async with open_console(dsn, timeout_s=0.2):
                pass


async def test_a_table_without_an_answer_ends_at_the_deadline_and_the_login_with_it(bouncer):
    async with TcpProxy("127.0.0.1", bouncer.port) as proxy:
        dsn = f"postgresql://admin@127.0.0.1:{proxy.port}/pgbouncer"
        async with open_console(dsn, timeout_s=0.5) as console:
            proxy.stall()
            with pytest.raises(UpstreamUnavailable, match="in time"):
                await console.show("POOLS")
            with pytest.raises(UpstreamUnavailable, match="lost"):
                await console.show("POOLS")


async def test_a_lost_connection_is_unavailable(bouncer):
    async with TcpProxy("127.0.0.1", bouncer.port) as proxy:
        dsn = f"postgresql://admin@127.0.0.1:{proxy.port}/pgbouncer"
        async with open_console(dsn) as console:
            proxy.cut()
            with pytest.raises(UpstreamUnavailable, match="lost"):
                await console.show("POOLS")


async def test_no_login_is_left_behind(bouncer):
    async with open_console(bouncer.console_dsn):
        pass
    async with open_console(bouncer.console_dsn) as console:
        clients = await console.show("CLIENTS")
    assert sum(row["database"] == "pgbouncer" for row in clients) == 1


async def test_a_console_without_an_address_is_our_mistake():
    with pytest.raises(ValueError, match="console_dsn"):
        async with open_console(None):
            pass
