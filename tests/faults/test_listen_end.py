"""How listening ends: it always says why, and leaves nothing."""

import asyncio

import pytest

from proxy.app import drain
from tests.fixtures.listener import listen, run_listened
from tests.fixtures.servers import Upstream
from tests.fixtures.service import OUR_NAME, Client, observe, poll, run_client
from tests.fixtures.tcp_proxy import TcpProxy

pytestmark = pytest.mark.matrix
KILL = """
select pg_terminate_backend(pid) from pg_stat_activity
where application_name = $1 and query ~* '^listen'
"""


async def assert_nobody_listens(client: Client) -> None:
    async def is_quiet() -> bool:
        return client.service.logins.default.subscriptions.gauges()["open"] == 0

    await poll(is_quiet, "a listener is left")


async def test_a_lost_connection_is_told(upstream: Upstream):
    async with run_listened(upstream) as client:
        async with listen(client, "orders") as listener, observe(upstream) as observer:
            assert await observer.fetchval(KILL, OUR_NAME)
            (last,) = await listener.hear_all()
        assert (last.event, last.data["title"]) == ("error", "upstream_unavailable")
        assert last.data["phase"] == "stream"
        await assert_nobody_listens(client)
        assert (await client.operations("/stats")).json["events"]["listener_opened"]["count"] == 1
        async with listen(client, "orders"):
            pass


async def test_an_upstream_that_falls_silent_is_told(upstream: Upstream, monkeypatch):
    monkeypatch.setattr("proxy.api.listen.HEARTBEAT_S", 0.05)
    monkeypatch.setattr("proxy.engine.subscription.CHECK_S", 0.2)
    port = int(upstream.postgres_dsn.rpartition(":")[2].partition("/")[0])
    async with TcpProxy("127.0.0.1", port) as wire:
        direct = f"postgresql://app@127.0.0.1:{wire.port}/app?sslmode=disable"
        async with run_client(upstream, upstream={"session_dsn": direct}) as client:
            async with listen(client, "orders") as listener:
                wire.stall()
                last = (await listener.hear_all())[-1]
            assert (last.event, last.data["title"]) == ("error", "upstream_unavailable")
            await assert_nobody_listens(client)


async def test_a_drain_ends_it_at_once(upstream: Upstream):
    async with run_listened(upstream) as client, listen(client, "orders") as listener:
        async with asyncio.timeout(5):
            await drain(client.service, 60, asyncio.Event())
        (last,) = await listener.hear_all()
        assert (last.event, last.data["title"]) == ("error", "draining")
        await assert_nobody_listens(client)


async def test_a_reader_that_takes_nothing_is_cut(upstream: Upstream, monkeypatch):
    """More than the sockets hold; the server goes on sending all the while."""
    monkeypatch.setattr("proxy.engine.subscription.MAX_HELD", 100_000)
    async with run_listened(upstream, limits={"stream_stall_s": 0.3}) as client:
        many = "select pg_notify('orders', n || repeat('x', 7000)) from generate_series(1, 3000) n"
        async with (
            listen(client, "orders", coding="identity"),
            observe(upstream) as observer,
        ):
            await observer.execute(many)
            await assert_nobody_listens(client)


async def test_a_service_that_is_closed_leaves_no_connection(upstream: Upstream):
    async with run_listened(upstream) as client, listen(client, "orders"):
        pass
    async with observe(upstream) as observer:
        sql = "select count(*) from pg_stat_activity where query ~* '^listen' and pid <> $1"
        assert await observer.fetchval(sql, observer.get_server_pid()) == 0
