"""Probes, statistics, and what every answer carries."""

import asyncio
import re

import pytest

from proxy.errors import UpstreamAuth
from tests.fixtures.service import (
    Client,
    assert_nothing_left,
    find_backend,
    observe,
    poll,
    run_client,
)
from tests.fixtures.tcp_proxy import TcpProxy

TIMING = re.compile(r"(\w+);dur=(\d+\.\d+)")


@pytest.fixture
async def away(upstream):
    """A way to the upstream that is closed until `accept`."""
    async with TcpProxy("127.0.0.1", upstream.port) as proxy:
        proxy.refuse()
        yield proxy


@pytest.fixture
async def lonely(away):
    """A service that has been started while its upstream is away."""
    async with run_client(f"postgresql://app@127.0.0.1:{away.port}/app") as client:
        yield client


@pytest.mark.parametrize(
    ("path", "document"),
    [("/live", {"status": "live"}), ("/ready", {"status": "ready"})],
)
async def test_a_probe_answers(client: Client, path, document):
    reply = await client.operations(path)
    assert (reply.status, reply.json) == (200, document)


async def test_startup_names_the_upstream(client: Client, upstream):
    reply = await client.operations("/startup")
    assert (reply.status, reply.json) == (200, {"status": "started", "upstream": upstream.kind})


async def test_statistics_show_pool_upstream_and_events(client: Client, upstream):
    await client.value("select 1")
    stats = (await client.operations("/stats")).json
    assert stats.keys() == {
        *("version", "uptime_s", "state", "rows", "requests_running"),
        *("upstream", "session", "pool", "transactions", "named", "events"),
        *("listeners", "logins", "tags", "findings"),
    }
    assert stats["state"] == "running"
    assert stats["requests_running"] == 1  # this one
    assert stats["upstream"]["kind"] == upstream.kind
    assert stats["pool"].keys() == {
        *("limit", "in_use", "max_in_use", "idle", "opening", "mending", "waiters", "max_waiters"),
    }
    assert stats["pool"]["limit"] == 4
    assert stats["events"]["rows_sent"].keys() == {"count", "total", "max"}


async def test_events_are_counted(upstream):
    async with run_client(upstream) as client:
        await client.rows("select * from generate_series(1, 5)")
        await client.query("select 1/0")
        await client.query("select pg_sleep(30)", timeout_ms=20)
        events = (await client.operations("/stats")).json["events"]
        assert events["rows_sent"]["total"] == 5
        assert events["request_rejected"]["count"] == 1
        assert events["request_failed"]["count"] == 1
        assert events["statement_cancelled"]["count"] == 1
        assert events["request_finished"]["count"] == 3
        assert events["bytes_sent"]["total"] > 100
        await assert_nothing_left(client, upstream)


async def test_operations_have_problems_too(client: Client):
    reply = await client.operations("/nothing")
    assert reply.status == 404
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["detail"].startswith("there is nothing at /nothing")


async def test_a_request_id_of_the_client_is_taken(client: Client):
    for wanted in ("order-17_a.b", "x" * 128):
        reply = await client.post("/v1/query", json={}, headers={"X-Request-Id": wanted})
        assert reply.headers["X-Request-Id"] == reply.json["request_id"] == wanted


@pytest.mark.parametrize("wanted", ["", "x" * 129, "a b", "a/b", "é", "a\tb"])
async def test_a_malformed_request_id_is_replaced(client: Client, wanted):
    headers = {"X-Request-Id": wanted}
    reply = await client.post("/v1/query", json={"sql": "select 1"}, headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", reply.headers["X-Request-Id"])


async def test_a_request_id_that_is_running_is_replaced(client: Client, upstream):
    headers = {"X-Request-Id": "twin"}
    slow = {"sql": "select pg_sleep(30) /* twin */", "timeout_ms": 1000}
    first = asyncio.create_task(client.post("/v1/query", json=slow, headers=headers))
    async with observe(upstream) as observer:
        await find_backend(observer, "/* twin */")
    second = await client.post("/v1/query", json={"sql": "select 1"}, headers=headers)
    assert second.headers["X-Request-Id"] != "twin"
    assert (await first).headers["X-Request-Id"] == "twin"
    third = await client.post("/v1/query", json={"sql": "select 1"}, headers=headers)
    assert third.headers["X-Request-Id"] == "twin"


async def test_the_time_of_each_part_is_told(client: Client):
    reply = await client.query("select pg_sleep(0.05)")
    timings = {name: float(ms) for name, ms in TIMING.findall(reply.headers["Server-Timing"])}
    assert [*timings] == ["queue", "db", "encode", "total"]
    assert timings["db"] >= 50
    assert timings["total"] >= timings["queue"] + timings["db"] + timings["encode"]
    assert reply.json["elapsed_ms"] == pytest.approx(timings["db"], abs=0.001)


async def test_a_refused_request_has_a_time_as_well(client: Client):
    reply = await client.post("/v1/query", json={})
    assert [name for name, _ in TIMING.findall(reply.headers["Server-Timing"])] == ["total"]


async def test_without_its_upstream_the_service_lives(lonely: Client):
    assert (await lonely.operations("/live")).status == 200


@pytest.mark.parametrize("path", ["/startup", "/ready"])
async def test_without_its_upstream_the_service_is_not_ready(lonely: Client, path):
    reply = await lonely.operations(path)
    assert reply.status == 503
    assert reply.json["title"] == "upstream_unavailable"
    assert reply.json["detail"].startswith("cannot connect to the upstream: ")


async def test_without_its_upstream_the_statistics_say_why(lonely: Client):
    stats = (await lonely.operations("/stats")).json
    assert stats["pool"] is None
    assert stats["upstream"]["problem"].startswith("cannot connect to the upstream: ")


async def test_without_its_upstream_a_query_may_be_sent_again(lonely: Client):
    reply = await lonely.query("select 1")
    assert reply.status == 503
    assert reply.headers["Retry-After"] == "1"
    assert reply.json["phase"] == "connect"
    assert reply.json["executed"] == "no"
    assert reply.json["retryable"] is True


async def test_the_service_finds_its_upstream_by_itself(away: TcpProxy, lonely: Client):
    assert (await lonely.operations("/startup")).status == 503
    await away.accept()

    async def is_ready() -> bool:
        return (await lonely.operations("/ready")).status == 200

    await poll(is_ready, "the service doesn't find its upstream")
    assert (await lonely.operations("/startup")).status == 200
    assert await lonely.value("select 1") == 1


async def test_an_upstream_that_goes_and_comes_is_found_again(upstream):
    async with (
        TcpProxy("127.0.0.1", upstream.port) as way,
        run_client(f"postgresql://app@127.0.0.1:{way.port}/app") as client,
    ):
        assert await client.value("select 1") == 1
        way.refuse()
        way.cut()

        async def is_away() -> bool:
            return (await client.operations("/ready")).status == 503

        await poll(is_away, "the lost upstream goes unnoticed")
        reply = await client.query("select 1")
        assert (reply.status, reply.json["executed"]) == (503, "no")
        assert (await client.operations("/startup")).status == 200  # it has been proven once
        await way.accept()
        assert await client.value("select 1") == 1


@pytest.mark.parametrize(
    ("user", "database"), [("nobody", "app"), ("app", "nothing")], ids=["role", "database"]
)
async def test_a_login_that_is_refused_stops_the_start(upstream, user, database):
    dsn = f"postgresql://{user}@127.0.0.1:{upstream.port}/{database}"
    with pytest.raises(UpstreamAuth, match="the upstream refuses our login"):
        async with run_client(dsn):
            pass
