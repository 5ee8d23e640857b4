"""The forwarder sees what passes, and fails in the ways that tests ask for."""

import asyncio
import time

import asyncpg
import pytest

from tests.fixtures.decoder import Decoder
from tests.fixtures.tcp_proxy import TcpProxy

DEADLINE_S = 5.0


@pytest.fixture
async def proxy(upstream):
    async with TcpProxy("127.0.0.1", upstream.port) as running:
        yield running


def connect(proxy):
    dsn = f"postgresql://app@127.0.0.1:{proxy.port}/app"
    return asyncpg.connect(dsn, statement_cache_size=0, timeout=DEADLINE_S)


@pytest.fixture
async def connection(proxy):
    opened = await connect(proxy)
    yield opened
    opened.terminate()


async def test_login_is_no_flight(proxy, connection):
    assert proxy.count_flights() == 0
    assert proxy.connections_total == 1


async def test_fetch_without_a_statement_cache_is_two_flights(proxy, connection):
    assert await connection.fetchval("select 1") == 1
    assert proxy.flights() == ["PDH", "PBES"]


async def test_simple_query_is_one_flight(proxy, connection):
    await connection.execute("select 1")
    assert proxy.flights() == ["Q"]


async def test_flights_are_counted_from_a_mark(proxy, connection):
    await connection.execute("select 1")
    mark = proxy.mark()
    await connection.execute("select 2")
    await connection.execute("select 3")
    assert proxy.count_flights(mark) == 2


async def test_flights_of_two_connections_are_kept_apart(proxy, connection):
    other = await connect(proxy)
    sleep = "select pg_sleep(0.05)"
    await asyncio.gather(connection.execute(sleep), other.execute(sleep))
    assert proxy.flights() == ["Q", "Q"]
    other.terminate()


async def test_big_answer_arrives_whole(proxy, connection):
    assert len(await connection.fetchval("select repeat('x', 3000000)")) == 3_000_000
    assert max(message.length for message in proxy.messages) > 3_000_000


async def test_cancel_request_is_counted_apart(proxy, connection):
    with pytest.raises(TimeoutError):
        await connection.fetchval("select pg_sleep(60)", timeout=0.05)
    assert await connection.fetchval("select 1") == 1
    assert proxy.cancels_total == 1
    assert proxy.connections_total == 2


async def test_stalled_proxy_holds_an_answer_back_until_it_resumes(proxy, connection):
    proxy.stall()
    query = asyncio.create_task(connection.fetchval("select 1"))
    await asyncio.wait([query], timeout=0.05)
    assert not query.done()
    proxy.resume()
    assert await asyncio.wait_for(query, DEADLINE_S) == 1


async def test_cut_proxy_breaks_a_running_query(proxy, connection):
    query = asyncio.create_task(connection.execute("select pg_sleep(1)"))
    await asyncio.wait([query], timeout=0.05)
    proxy.cut()
    with pytest.raises((asyncpg.ConnectionDoesNotExistError, ConnectionResetError)):
        await asyncio.wait_for(query, DEADLINE_S)


async def test_refusing_proxy_keeps_the_connections_it_has(proxy, connection):
    proxy.refuse()
    assert await connection.fetchval("select 1") == 1


async def test_refusing_proxy_refuses_new_connections(proxy):
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        await connect(proxy)


async def test_accepting_again_takes_connections_on_the_same_port(proxy):
    port = proxy.port
    proxy.refuse()
    await proxy.accept()
    assert proxy.port == port
    await (await connect(proxy)).close()


async def test_delayed_proxy_adds_its_delay_both_ways(proxy, connection):
    proxy.delay(0.05)
    began = time.monotonic()
    await connection.execute("select 1")
    assert time.monotonic() - began > 0.09  # timers count whole milliseconds


async def test_unreachable_target_closes_the_connection():
    async with TcpProxy("127.0.0.1", 1) as proxy:
        with pytest.raises((ConnectionError, asyncpg.PostgresError)):
            await connect(proxy)


def test_messages_are_found_at_any_split():
    startup = b"\0\0\0\x08\0\x03\0\0"
    server = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
    query = b"Q\0\0\0\x0dselect 1\0"
    whole = Decoder(1)
    whole.feed("client", startup)
    whole.feed("server", server)
    bytewise = Decoder(1)
    for direction, stream in (("client", startup), ("server", server)):
        for byte in stream:
            assert bytewise.feed(direction, bytes([byte])) == []
    found = [message for byte in query for message in bytewise.feed("client", bytes([byte]))]
    assert found == whole.feed("client", query)
    assert [message.type for message in found] == ["Q"]
