"""The short way for plain queries: the same answers as on the long one, and a way out of it."""

import asyncio
import json

import orjson
import pytest

from proxy.api import express as express_module
from tests.fixtures.service import (
    Client,
    assert_nothing_left,
    find_backend,
    observe,
    poll,
    run_client,
)

POOL = {"size": 2, "overflow": 0}
HEAD = "Host: localhost\r\nContent-Type: application/json\r\n"


@pytest.fixture(scope="module")
async def client(upstream):
    async with run_client(upstream, pool=POOL) as running:
        yield running
        await assert_nothing_left(running, upstream)


@pytest.fixture
async def wire(client):
    """A connection of the test's own."""
    async with Wire.open(client) as opened:
        yield opened


class Wire:
    """A client that says when each byte is sent."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    def open(cls, client: Client) -> "Opening":
        return Opening(client)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def read(self) -> tuple[int, dict[str, str], bytes]:
        """One answer: status, headers, body."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await self.reader.readexactly(int(headers["Content-Length"]))
        return int(head[0].split()[1]), headers, body


class Opening:
    """A wire as long as its block lasts."""

    def __init__(self, client: Client) -> None:
        self._url = client.service.url

    async def __aenter__(self) -> Wire:
        host, port = self._url.removeprefix("http://").split(":")
        self.wire = Wire(*await asyncio.open_connection(host, int(port)))
        return self.wire

    async def __aexit__(self, *_: object) -> None:
        self.wire.writer.close()


def build(sql: str, *params: object, extra: str = "", **members: object) -> bytes:
    body = json.dumps({"sql": sql, "params": params, **members}).encode()
    start = f"POST /v1/query HTTP/1.1\r\n{HEAD}{extra}Content-Length: {len(body)}\r\n\r\n"
    return start.encode() + body


REQUESTS = [
    build("select $1::int as a, 'ä' as b", 7),
    build("select 1 / 0"),
    build("select pg_sleep(5)", timeout_ms=50),
    build("insert into users (id) values (1)"),
    build(""),
    build("select 1", sqll=""),
    build("select 1", extra="X-Request-Id: mine\r\n"),
    build("select 1", extra="X-Request-Id: not well-formed!\r\n"),
    f"POST /v1/query HTTP/1.1\r\n{HEAD}Content-Length: 1\r\n\r\n{{".encode(),
]


@pytest.mark.parametrize("number", range(len(REQUESTS)))
async def test_both_ways_answer_the_same(upstream, wire, number):
    async with (
        run_client(upstream, http={"express": False}, pool=POOL) as long,
        Wire.open(long) as other,
    ):
        answers = []
        for each in (wire, other):
            await each.send(REQUESTS[number])
            status, headers, body = await each.read()
            names = {name for name in headers if name != "Server"}
            document = orjson.loads(body)
            for varying in ("elapsed_ms", "request_id"):
                document.pop(varying, None)
            answers.append((status, names, headers["Content-Type"], document))
        assert answers[0] == answers[1]


async def test_only_the_long_way_names_its_server(client):
    """So that the tests here can tell which way an answer came."""
    async with Wire.open(client) as wire:
        await wire.send(build("select 1"))
        assert "Server" not in (await wire.read())[1]
        await wire.send(build("select 1", extra="X-Unknown: 1\r\n"))
        assert "Server" in (await wire.read())[1]


async def test_a_connection_stays_open_for_many_queries(wire):
    for number in range(20):
        await wire.send(build("select $1::int as n", number))
        status, headers, body = await wire.read()
        assert (status, "Server" in headers) == (200, False)
        assert orjson.loads(body)["rows"] == [{"n": number}]


async def test_requests_sent_at_once_are_answered_in_order(wire):
    await wire.send(b"".join(build("select $1::int as n", number) for number in range(5)))
    answers = [orjson.loads((await wire.read())[2])["rows"][0]["n"] for _ in range(5)]
    assert answers == list(range(5))


async def test_what_comes_while_a_query_runs_is_answered_after_it(client, upstream, wire):
    await wire.send(build("select pg_sleep(0.3), 'early' as word"))
    async with observe(upstream) as observer:
        await find_backend(observer, "early")
    await wire.send(
        build("select 'late' as word") + b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )
    assert b"early" in (await wire.read())[2]
    assert b"late" in (await wire.read())[2]
    assert (await wire.read())[0] == 404


@pytest.mark.parametrize("place", [1, 20, 60, -1])
async def test_a_request_in_two_pieces_is_answered(wire, place):
    request = build("select 'whole' as word")
    await wire.send(request[:place])
    await asyncio.sleep(0.05)
    await wire.send(request[place:])
    assert b"whole" in (await wire.read())[2]


async def test_other_requests_on_the_connection_are_answered(wire):
    await wire.send(build("select 1"))
    assert (await wire.read())[0] == 200
    await wire.send(b"GET /v1/query HTTP/1.1\r\nHost: localhost\r\n\r\n")
    status, headers, _ = await wire.read()
    assert (status, headers["Allow"]) == (405, "POST")
    await wire.send(build("select 1"))
    assert (await wire.read())[0] == 200


async def test_two_lengths_are_refused_like_everywhere(wire):
    request = build("select 1").replace(b"Host: localhost", b"Host: localhost\r\nContent-Length: 5")
    await wire.send(request)
    assert b" 400 " in await wire.reader.readline()


async def test_a_body_over_the_limit_is_refused(upstream):
    async with (
        run_client(upstream, limits={"body_bytes": 1024}) as client,
        Wire.open(client) as wire,
    ):
        await wire.send(build("select 1", "x" * 2000))
        assert (await wire.read())[0] == 413


async def test_a_client_that_goes_cancels_its_statement(upstream):
    async with run_client(upstream, pool=POOL) as client:
        async with Wire.open(client) as wire, observe(upstream) as observer:
            await wire.send(build("select pg_sleep(60), 'gone' as word"))
            await find_backend(observer, "gone")
        await assert_nothing_left(client, upstream)
        events = (await client.operations("/stats")).json["events"]
        assert events["client_disconnected"]["count"] == 1
        assert events["statement_cancelled"]["count"] == 1


async def test_an_idle_connection_is_closed(upstream, monkeypatch):
    monkeypatch.setattr("proxy.api.application.KEEPALIVE_S", 0.2)
    async with run_client(upstream) as client, Wire.open(client) as wire:
        await wire.send(build("select 1"))
        await wire.read()
        async with asyncio.timeout(10):
            assert await wire.reader.read() == b""


async def test_a_client_that_reads_nothing_is_read_no_more(upstream):
    """Its answers would pile up in memory."""
    async with (
        run_client(upstream, limits={"bytes": 1_000_000}) as client,
        Wire.open(client) as wire,
    ):
        wire.writer.transport.pause_reading()
        request = build("select repeat('x', 900000) as x")
        wire.writer.write(request * 200)
        before = (await client.operations("/stats")).json["events"]["rows_sent"]["total"]

        async def is_quiet() -> bool:
            nonlocal before
            earlier = before
            await asyncio.sleep(0.2)
            before = (await client.operations("/stats")).json["events"]["rows_sent"]["total"]
            return before == earlier

        await poll(is_quiet, "it goes on and on")
        assert before < 50


async def test_an_unexpected_failure_is_a_problem(client, wire, monkeypatch):
    monkeypatch.setattr(express_module, "to_query", lambda *_: 1 / 0)
    await wire.send(build("select 1"))
    status, _, body = await wire.read()
    assert (status, orjson.loads(body)["title"]) == (500, "internal")


async def test_it_can_be_switched_off(upstream):
    async with run_client(upstream, http={"express": False}) as client, Wire.open(client) as wire:
        await wire.send(build("select 1"))
        assert "Server" in (await wire.read())[1]
