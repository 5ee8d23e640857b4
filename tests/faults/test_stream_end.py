"""How a stream ends when it can't end well: a naive client can tell, and nothing is left."""

import asyncio
import socket
from typing import Any

import orjson
import pytest

from proxy.errors import Draining
from proxy.query.buffer import RowBuffer
from tests.fixtures.service import (
    OUR_NAME,
    Client,
    assert_nothing_left,
    find_backend,
    observe,
    poll,
    run_client,
)
from tests.fixtures.stream import MANY, NUMBERS, stream

pytestmark = pytest.mark.matrix
# each row is longer than the 8 KiB that Postgres collects before it sends
SLOWLY = "select n, repeat('x', 9000) as x, pg_sleep(0.01) from generate_series(1, 300) n"
POOL = {"size": 2, "overflow": 0}
FORMATS = ({}, {"format": "json"}, {"format": "csv"}, {"envelope": "bare"}, {"format": "arrow"})
DEFERRED = """
create table if not exists deferred (a int);
alter table deferred drop constraint if exists once;
alter table deferred add constraint once unique (a) deferrable initially deferred;
grant all on deferred to app
"""


def ids(wish):
    return "-".join(wish.values()) or "ndjson"


async def count(client: Client, event: str) -> int:
    return (await client.operations("/stats")).json["events"][event]["count"]


def read_problem(answer, wish):
    """What the end of the body says, as a naive client reads it; None where it's broken off."""
    if not answer.is_complete:
        return None
    return answer.json["error"] if "format" in wish else answer.lines[-1]["error"]


def assert_says(answer, wish, executed):
    """In the format where it has words, else by the missing end of the body."""
    problem = read_problem(answer, wish)
    if wish in ({}, {"format": "json"}):
        assert problem["executed"] == executed, problem
        assert problem["phase"] in {"stream", "commit"}
    else:
        assert problem is None


async def interrupt(client: Client, upstream, wish, function: str):
    """Call a function on the backend of a stream that has begun; returns what its client gets."""
    running = asyncio.create_task(stream(client, SLOWLY, query=wish))
    async with observe(upstream) as observer:
        pid = await find_backend(observer, "pg_sleep(0.01)")
        await poll(lambda: has_begun(client), "no stream has begun")
        await observer.execute(f"select {function}($1)", pid)
    return await running


@pytest.mark.parametrize("wish", FORMATS, ids=ids)
async def test_a_killed_backend_is_told(upstream, wish):
    async with run_client(upstream, pool=POOL) as client:
        answer = await interrupt(client, upstream, wish, "pg_terminate_backend")
        assert answer.status == 200
        assert_says(answer, wish, "unknown")
        assert await count(client, "stream_failed") == 1
        assert await client.value("select 42") == 42
        await assert_nothing_left(client, upstream)


async def has_begun(client: Client) -> bool:
    return await count(client, "stream_started") > 0


@pytest.mark.parametrize("wish", FORMATS, ids=ids)
async def test_a_cancelled_statement_is_told(upstream, wish):
    async with run_client(upstream, pool=POOL) as client:
        answer = await interrupt(client, upstream, wish, "pg_cancel_backend")
        assert_says(answer, wish, "no")
        await assert_nothing_left(client, upstream)


async def test_a_deadline_in_the_middle_is_told(upstream):
    async with run_client(upstream, pool=POOL) as client:
        answer = await stream(client, SLOWLY, timeout_ms=700)
        problem = answer.lines[-1]["error"]
        assert (problem["title"], problem["executed"]) == ("deadline_exceeded", "no")
        await assert_nothing_left(client, upstream)


@pytest.mark.parametrize("wish", FORMATS, ids=ids)
async def test_rows_of_a_failed_commit_never_look_like_a_success(upstream, wish):
    async with run_client(upstream, pool=POOL) as client:
        async with observe(upstream) as observer:
            await observer.execute(DEFERRED)
        sql = "insert into deferred select n / 2 from generate_series(1, 60000) n returning a"
        answer = await stream(client, sql, query=wish)
        assert answer.status == 200
        assert_says(answer, wish, "no")
        assert await client.value("select count(*) from deferred") == 0
        await assert_nothing_left(client, upstream)


async def open_socket(
    client: Client, sql: str, *, buffer_bytes: int = 4096, **members: Any
) -> socket.socket:
    """A client that has sent its request and reads nothing yet."""
    host, port = client.service.url.removeprefix("http://").split(":")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, (host, int(port)))
    body = orjson.dumps({"sql": sql, **members})
    head = (
        f"POST /v1/stream HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    await loop.sock_sendall(raw, head.encode() + body)
    return raw


async def test_a_client_that_goes_before_the_first_row_cancels(upstream):
    async with run_client(upstream, pool=POOL) as client:
        raw = await open_socket(client, "select pg_sleep(5), 'early' as word")
        async with observe(upstream) as observer:
            await find_backend(observer, "early")
        raw.close()
        await assert_cancelled(client, upstream)


async def test_a_client_that_goes_in_the_middle_cancels(upstream):
    async with run_client(upstream, pool=POOL) as client:
        raw = await open_socket(client, SLOWLY)
        await asyncio.get_running_loop().sock_recv(raw, 1000)
        raw.close()
        await assert_cancelled(client, upstream)


async def test_a_client_that_goes_while_the_server_waits_for_it_cancels(upstream):
    async with run_client(upstream, pool=POOL) as client:
        raw = await open_socket(client, NUMBERS.replace("$1::int", "100000000"))
        await poll(lambda: is_paused(client), "the server isn't paused")
        raw.close()
        await assert_cancelled(client, upstream)


async def is_paused(client: Client) -> bool:
    return await count(client, "stream_paused") > 0


async def assert_cancelled(client: Client, upstream) -> None:
    await assert_nothing_left(client, upstream)
    assert await count(client, "client_disconnected") == 1
    assert await count(client, "statement_cancelled") == 1
    assert await client.value("select 42") == 42


async def test_a_client_that_goes_after_the_end_leaves_nothing(upstream):
    async with run_client(upstream, pool=POOL) as client:
        raw = await open_socket(client, "select 1 as n")
        loop = asyncio.get_running_loop()
        received = b""
        while not received.endswith(b"0\r\n\r\n"):
            received += await loop.sock_recv(raw, 4096)
        raw.close()
        await assert_nothing_left(client, upstream)
        assert await count(client, "statement_cancelled") == 0


async def test_a_reader_that_takes_nothing_is_cut(upstream):
    async with run_client(upstream, pool=POOL, limits={"stream_stall_s": 0.3}) as client:
        raw = await open_socket(client, NUMBERS.replace("$1::int", "100000000"))
        await poll(lambda: is_stalled(client), "the reader isn't cut")
        await assert_nothing_left(client, upstream)
        assert await count(client, "statement_cancelled") == 1
        raw.close()


async def read_slowly(raw: socket.socket, most_bytes: int, wait_s: float) -> bytes:
    """Read a whole chunked body in small pieces; returns it without the chunks' frames."""
    loop = asyncio.get_running_loop()
    received = bytearray()
    while not received.endswith(b"0\r\n\r\n"):
        piece = await loop.sock_recv(raw, most_bytes)
        assert piece, "the stream was cut"
        received += piece
        await asyncio.sleep(wait_s)
    rest, body = bytes(received).partition(b"\r\n\r\n")[2], b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return body


async def test_a_reader_that_takes_little_is_not_cut(servers):
    """One row is far more than it takes within the limit, and than the kernel holds for it."""
    upstream = servers.upstream("transaction")
    async with run_client(upstream, pool=POOL, limits={"stream_stall_s": 0.5}) as client:
        raw = await open_socket(client, "select repeat('x', 16000000)", buffer_bytes=128 * 1024)
        body = await read_slowly(raw, 64 * 1024, 0.01)
        raw.close()
        assert body.count(b"x") >= 16_000_000
        assert b'"end"' in body
        assert await count(client, "stream_stalled") == 0


async def test_a_deadline_while_the_server_waits_for_its_reader_frees_the_lane(upstream):
    """The end of the statement comes behind rows that nobody takes any more."""
    async with run_client(upstream, pool=POOL) as client:
        raw = await open_socket(client, NUMBERS.replace("$1::int", "100000000"), timeout_ms=500)
        await poll(lambda: is_cancelled(client), "the statement isn't cancelled")
        async with observe(upstream) as observer:

            async def has_ended() -> bool:
                busy = "state = 'active' and application_name = $1"
                sql = f"select count(*) from pg_stat_activity where {busy}"
                return await observer.fetchval(sql, OUR_NAME) == 0

            await poll(has_ended, "the statement goes on")
        raw.close()
        await assert_nothing_left(client, upstream)
        assert await count(client, "connection_discarded") == 0


async def is_cancelled(client: Client) -> bool:
    return await count(client, "statement_cancelled") == 1


async def is_stalled(client: Client) -> bool:
    return await count(client, "stream_stalled") == 1


async def test_a_slow_reader_stops_the_server_and_gets_every_row(upstream):
    async with run_client(upstream, pool=POOL) as client:
        raw = await open_socket(client, NUMBERS.replace("$1::int", str(MANY)))
        await poll(lambda: is_paused(client), "the server isn't paused")
        body = await read_slowly(raw, 1 << 20, 0)
        raw.close()
        assert body.count(b'{"row":') == MANY
        assert b'"row_count":%d' % MANY in body
        await assert_nothing_left(client, upstream)


async def test_what_waits_for_a_slow_reader_is_bounded(upstream, monkeypatch):
    held: list[int] = []

    def keep(buffer, data, start):
        end = feed(buffer, data, start)
        held.append(buffer.held_bytes)
        return end

    feed = RowBuffer.feed_rows
    monkeypatch.setattr(RowBuffer, "feed_rows", keep)
    async with run_client(upstream, pool=POOL) as client:
        raw = await open_socket(client, NUMBERS.replace("$1::int", "100000000"))
        await poll(lambda: is_paused(client), "the server isn't paused")
        raw.close()
        await assert_nothing_left(client, upstream)
    assert 0 < max(held) <= 1024 * 1024


async def test_a_stream_is_drained_or_told(upstream):
    async with run_client(upstream, pool=POOL) as client:
        running = asyncio.create_task(stream(client, SLOWLY))
        await poll(lambda: has_begun(client), "no stream has begun")
        client.service.upstream.cancel_running(Draining)
        problem = (await running).lines[-1]["error"]
        assert (problem["title"], problem["executed"]) == ("draining", "no")
