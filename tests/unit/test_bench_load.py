"""The load client against a server that answers in pieces, wrongly, or not at all."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.load import Load, LoadFailed, drive
from benchmarks.peer import build_post

OK = (b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 4\r\n\r\nro", b"ws")


@asynccontextmanager
async def serve(*pieces: bytes) -> AsyncIterator[int]:
    """Answer every request with these pieces, and count what comes; yields the port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"rows please"):
                for piece in pieces:
                    writer.write(piece)
                    await asyncio.sleep(0)
                if not pieces:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def make_load(port: int) -> Load:
    return Load(port, os.getpid(), 3, 0.02, 0.1, [build_post("/query", b"rows please")])


async def test_answers_are_counted_however_they_are_cut():
    async with serve(*OK) as port:
        result = await drive(make_load(port))
    assert result.requests > 3
    assert 0 < result.p50_ms <= result.p95_ms <= result.p99_ms


async def test_another_status_fails_the_load():
    async with serve(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") as port:
        with pytest.raises(LoadFailed, match="503 Busy"):
            await drive(make_load(port))


async def test_a_server_that_hangs_up_fails_the_load():
    async with serve() as port:
        with pytest.raises(LoadFailed, match="connection lost"):
            await drive(make_load(port))
