"""GET /v1/listen: notifications as server-sent events."""

import asyncio

import pytest

from proxy.api import listen as listen_module
from proxy.engine import subscription as subscription_module
from tests.fixtures.listener import Heard, listen, run_listened
from tests.fixtures.servers import BOUNCERS, OTHER_BOUNCERS
from tests.fixtures.service import OUR_NAME, observe, poll, run_client

pytestmark = pytest.mark.matrix


@pytest.fixture(scope="module")
async def client(upstream):
    async with run_listened(upstream) as running:
        yield running


@pytest.fixture(autouse=True)
async def _nothing_left(request, upstream):
    yield
    if "client" in request.fixturenames:
        await assert_nobody_listens(request.getfixturevalue("client"), upstream)


async def assert_nobody_listens(client, upstream):
    async with observe(upstream) as observer:

        async def is_quiet() -> bool:
            stats = (await client.operations("/stats")).json
            return stats["listeners"]["open"] == 0 and await count_listeners(observer) == 0

        await poll(is_quiet, "a listener is left")


async def count_listeners(observer):
    """Connections of ours whose last statement was LISTEN, or the look at it."""
    last = "query ~* '^listen|pg_listening' and application_name = $1"
    sql = f"select count(*) from pg_stat_activity where {last}"
    return await observer.fetchval(sql, OUR_NAME)


async def ask(client, query):
    """A request that is to be refused; else it would never end."""
    async with asyncio.timeout(5):
        return await client.get(f"/v1/listen?{query}")


async def notify(upstream, channel, *payloads):
    async with observe(upstream) as observer:
        for payload in payloads:
            await observer.execute("select pg_notify($1, $2)", channel, payload)
        return observer.get_server_pid()


async def test_what_is_notified_is_heard(client, upstream):
    async with listen(client, "orders") as listener:
        pid = await notify(upstream, "orders", "one", "two")
        for payload in ("one", "two"):
            heard = await listener.hear()
            assert heard == Heard(
                "notification", {"channel": "orders", "payload": payload, "pid": pid}
            )


async def test_several_channels_are_heard_and_no_others(client, upstream):
    async with listen(client, "orders", "users", "orders") as listener:
        for channel in ("nobody", "users", "orders"):
            await notify(upstream, channel, "")
        heard = [await listener.hear() for _ in range(2)]
        assert [each.data["channel"] for each in heard] == ["users", "orders"]


async def test_a_statement_of_the_service_is_heard(client):
    async with listen(client, "orders") as listener:
        await client.value("select pg_notify('orders', $1)", "from a request")
        assert (await listener.hear()).data["payload"] == "from a request"


@pytest.mark.parametrize(
    "channel", ["Orders", 'a"b', "a b", "select", "; drop table users; --", "é" * 31, "x" * 63]
)
async def test_a_channel_means_itself(client, upstream, channel):
    async with listen(client, channel) as listener:
        await notify(upstream, channel, "here")
        assert (await listener.hear()).data["channel"] == channel


@pytest.mark.parametrize("payload", ["a\nb\r\n\r\ndata: c", "é😀", "", "x" * 7999])
async def test_a_payload_arrives_as_it_is(client, upstream, payload):
    async with listen(client, "orders") as listener:
        await notify(upstream, "orders", payload)
        assert (await listener.hear()).data["payload"] == payload


async def test_the_response_is_one_of_events(client):
    async with listen(client, "orders") as listener:
        headers = listener.response.headers
        assert headers["Content-Type"] == "text/event-stream"
        assert headers["Cache-Control"] == "no-store"
        assert "X-Request-Id" in headers


async def test_silence_is_broken_by_comments(client, upstream, monkeypatch):
    monkeypatch.setattr(listen_module, "HEARTBEAT_S", 0.02)
    async with listen(client, "orders") as listener:
        for _ in range(3):
            assert await listener.hear() == Heard("", "still listening")
        await notify(upstream, "orders", "after all")
        while (heard := await listener.hear()).event == "":
            pass
        assert heard.data["payload"] == "after all"


async def test_a_session_that_listens_no_more_is_noticed(client, monkeypatch):
    async with listen(client, "orders") as listener:
        (subscription,) = client.service.logins.default.subscriptions._open
        await subscription._driver.execute("unlisten orders")
        monkeypatch.setattr(listen_module, "HEARTBEAT_S", 0.02)
        await client.value("select pg_notify('orders', 'lost')")
        async with asyncio.timeout(5):
            subscription._wake.set()
            *_, last = await listener.hear_all()
        assert (last.event, last.data["title"]) == ("error", "upstream_unavailable")


async def test_a_reader_that_is_too_slow_is_cut_and_told(client, upstream, monkeypatch):
    monkeypatch.setattr(subscription_module, "MAX_HELD", 10)
    async with listen(client, "orders") as listener:
        many = "select pg_notify('orders', n::text) from generate_series(1, 1000) n"
        async with observe(upstream) as observer:
            await observer.execute(many)
        *heard, last = await listener.hear_all()
    payloads = [each.data["payload"] for each in heard]
    assert payloads == [str(n) for n in range(1, len(payloads) + 1)]
    assert len(payloads) < 1000
    assert (last.event, last.data["title"]) == ("error", "request_timeout")
    assert last.data["phase"] == "stream"


async def test_a_client_that_goes_leaves_nothing(client, upstream):
    async with listen(client, "orders"), observe(upstream) as observer:
        assert await count_listeners(observer) == 1
    await assert_nobody_listens(client, upstream)


async def test_listeners_are_bounded(upstream):
    async with run_listened(upstream, limits={"listeners": 1}) as client:
        async with listen(client, "orders"):
            reply = await ask(client, "channel=orders")
            assert (reply.status, reply.json["title"]) == (429, "too_many_listeners")
            assert "Retry-After" in reply.headers
        await assert_nobody_listens(client, upstream)
        async with listen(client, "orders"):
            stats = (await client.operations("/stats")).json
            assert stats["listeners"] == {"limit": 1, "open": 1, "max_open": 1}


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("", "say 1 to 100 channels"),
        ("channel=", "a name is empty"),
        ("channel=a%00", "NUL"),
        (f"channel={'x' * 64}", "longer than 63 bytes"),
        ("chanel=a", "did you mean 'channel'"),
        ("&".join(f"channel=c{n}" for n in range(101)), "say 1 to 100 channels"),
    ],
)
async def test_a_wrong_channel_is_refused(client, query, detail):
    reply = await ask(client, query)
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")
    assert detail in reply.json["detail"]


@pytest.mark.parametrize("name", [*BOUNCERS, *OTHER_BOUNCERS])
async def test_where_no_session_is_surely_ours_nobody_listens(servers, name):
    async with run_client(servers.upstream(name)) as client:
        reply = await ask(client, "channel=orders")
    assert (reply.status, reply.json["title"]) == (409, "needs_session")
    assert "upstream.session_dsn" in reply.json["detail"]


@pytest.mark.parametrize("name", [*BOUNCERS, *OTHER_BOUNCERS])
async def test_a_session_dsn_has_to_lead_to_postgres_itself(servers, name):
    dsn = servers.upstream(name).dsn
    async with run_client(dsn, upstream={"session_dsn": dsn}) as client:
        reply = await ask(client, "channel=orders")
    assert (reply.status, reply.json["title"]) == (409, "needs_session")
