"""Connections of clients: so many and no more, and none that is stuck for ever."""

import asyncio
import socket
from contextlib import asynccontextmanager

import pytest

from tests.fixtures.service import DEADLINE_S, assert_nothing_left, poll, run_client

BODY = b'{"sql": "select repeat(\'x\', 9000000)"}'
ASK = (
    b"POST /v1/query HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)


@asynccontextmanager
async def connect(client):
    """A raw connection that reads nothing by itself."""
    port = int(client.service.url.rpartition(":")[2])
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    try:
        yield sock
    finally:
        sock.close()


async def is_served(client) -> bool:
    """Whether one more connection is served."""
    async with connect(client) as sock:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, b"GET /v1/queries HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with asyncio.timeout(DEADLINE_S):
            head = await loop.sock_recv(sock, 4096)
    assert head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 503 ")), head
    assert b"Retry-After: 1\r\n" in head or b" 200 " in head
    return b" 200 " in head


@pytest.mark.parametrize("express", [True, False])
async def test_one_connection_too_many_is_refused_and_the_others_go_on(upstream, express):
    async with run_client(upstream, http={"connections": 3, "express": express}) as client:
        async with connect(client), connect(client), connect(client):

            async def is_full() -> bool:
                return not await is_served(client)

            await poll(is_full, "a fourth connection is served")

        async def has_room() -> bool:
            return await is_served(client)

        await poll(has_room, "closed connections still count")


@pytest.mark.parametrize("express", [True, False])
async def test_a_reader_that_takes_nothing_does_not_hold_its_answer_for_ever(upstream, express):
    sections = {
        "http": {"connections": 1, "express": express},
        "limits": {"stream_stall_s": 0.5, "bytes": 20_000_000},
    }
    async with run_client(upstream, **sections) as client, connect(client) as stuck:
        await asyncio.get_running_loop().sock_sendall(stuck, ASK)

        async def has_room() -> bool:
            return await is_served(client)

        await poll(has_room, "the stuck connection stays")
        await assert_nothing_left(client, upstream)
