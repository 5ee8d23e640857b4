"""How `pgsidecar query` ends when it can't end well."""

import fcntl
import os
import signal
import sys
import termios
from contextlib import asynccontextmanager

import orjson
import pytest
from aiohttp import web

from proxy.command.output import PIECE_BYTES
from tests.fixtures.command import finish, query, start_query
from tests.fixtures.service import find_backend, observe, poll
from tests.fixtures.stream import FAILS_LATE, MANY, NUMBERS
from tests.fixtures.tcp_proxy import TcpProxy

PIPE_BYTES = 65536  # that Linux holds for a reader
SLOWLY = "select n, repeat('x', 9000) as x, pg_sleep(0.01) from generate_series(1, 3000) n"


@pytest.mark.parametrize(
    ("code", "executed", "words"),
    [
        (1, "no", ("select 1/0",)),
        (1, "no", ("selec 1",)),
        (1, "no", ("insert into seats values (1, 1)",)),
        (2, "no", ("select 1; select 2",)),
        (2, "no", ("set a.b = 'c'",)),
        (2, "no", ("--named", "unknown")),
        (3, "no", ("begin",)),
        (3, "no", ("select 1", "--role", "postgres")),
        (4, "no", ("select pg_sleep(30)", "--timeout", "0.3")),
        (5, "unknown", ("do $$ begin raise 'late'; end $$",)),
    ],
)
async def test_the_exit_code_tells_what_to_do_next(client, code, executed, words):
    done = await query(client, *words)
    assert (done.code, done.out) == (code, b"")
    assert f"\nexecuted: {executed}\n" in done.err


async def test_a_conflict_may_be_tried_again(client, upstream):
    async with observe(upstream) as other, other.transaction():
        await other.execute("select from users where id = 1 for update")
        done = await query(client, "select from users where id = 1 for update nowait")
    assert done.code == 4
    assert "\nretryable: yes\n" in done.err


async def test_what_the_server_says_is_said(client):
    done = await query(client, "insert into seats values (1, 1)")
    assert done.err.startswith(
        'unique_violation: duplicate key value violates unique constraint "seats_pkey"\n'
        "sqlstate: 23505\nexecuted: no\nretryable: no\n"
        "request_id: "
    )


@pytest.mark.parametrize(
    "words", [("select", "1"), ("select 1", "--unknown"), ("s", "--param", "a:=x"), ()]
)
async def test_a_wrong_command_line_is_2(client, words):
    done = await query(client, *words)
    assert (done.code, done.out) == (2, b"")
    assert done.err


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1:99999", "http://["])
async def test_a_wrong_address_is_2(url):
    async with start_query("", "select 1", environment={"PGSIDECAR_URL": url}) as process:
        assert (await finish(process)).code == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "unix:/nonexistent.sock"])
async def test_no_service_is_4(url):
    async with start_query(url, "select 1") as process:
        done = await finish(process)
    assert (done.code, done.out) == (4, b"")
    assert "executed: no\n" in done.err


async def test_a_service_that_goes_before_its_answer_is_5(client, upstream):
    async with (
        TcpProxy("127.0.0.1", int(client.service.url.rpartition(":")[2])) as way,
        start_query(f"http://127.0.0.1:{way.port}", "select pg_sleep(30)") as process,
        observe(upstream) as observer,
    ):
        await find_backend(observer, "pg_sleep(30)")
        way.cut()
        done = await finish(process)
    assert (done.code, done.out) == (5, b"")
    assert "executed: unknown\n" in done.err


@pytest.mark.parametrize("form", ["table", "json", "ndjson", "csv"])
async def test_a_cut_stream_never_looks_complete(client, form):
    async with (
        TcpProxy("127.0.0.1", int(client.service.url.rpartition(":")[2])) as way,
        start_query(f"http://127.0.0.1:{way.port}", SLOWLY, "--format", form) as process,
    ):
        begun = b"" if form == "table" else await process.stdout.read(1000)
        await poll(lambda: is_streaming(client), "no stream has begun")
        way.cut()
        done = await finish(process)
    assert done.code == 5
    assert "not complete\nexecuted: unknown\n" in done.err
    if form == "json":
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(begun + done.out)


async def is_streaming(client):
    queries = (await client.get("/v1/queries")).json["queries"]
    return any(each["phase"] == "stream" for each in queries)


@pytest.mark.parametrize(("form", "code"), [("json", 1), ("ndjson", 1), ("csv", 5)])
async def test_a_stream_that_fails_late_fails(client, form, code):
    done = await query(client, FAILS_LATE, "--param", "100000", "--format", form)
    assert done.code == code
    if form != "csv":  # which has no words for it
        assert done.err.startswith("division_by_zero: division by zero\nsqlstate: 22012\n")
    if form == "json":
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(done.out)


@asynccontextmanager
async def run_other(status, body, content_type="application/x-ndjson"):
    """Run a server that is no pgsidecar."""

    async def answer(_request):
        return web.Response(status=status, body=body, content_type=content_type)

    application = web.Application()
    application.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (502, b"<html>", 5),
        (404, b"<html>", 2),
        (401, b"", 3),
        (200, b"<html>", 5),
        (200, b"", 5),
        (200, b'{"meta":{"columns":[]}}\n{"row":{"a":1}}\n', 5),
        (200, b'{"meta":7}\n', 5),
    ],
)
async def test_an_answer_of_somebody_else_is_no_success(status, body, code):
    async with run_other(status, body) as url, start_query(url, "select 1") as process:
        done = await finish(process)
    assert done.code == code
    assert done.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_cancels_the_statement(client, upstream, number, code):
    async with (
        start_query(client.service.url, "select pg_sleep(60)") as process,
        observe(upstream) as observer,
    ):
        await find_backend(observer, "pg_sleep(60)")
        process.send_signal(number)
        done = await finish(process)
    assert (done.code, done.out) == (code, b"")
    assert done.err == f"{number.name}: the service cancels the statement\nexecuted: unknown\n"


async def test_a_signal_is_heard_while_nobody_takes_the_rows(client):
    reader, writer = os.pipe()

    async def is_full():
        waiting = bytearray(4)
        fcntl.ioctl(reader, termios.FIONREAD, waiting)
        return int.from_bytes(waiting, sys.byteorder) > PIPE_BYTES - 2 * PIECE_BYTES

    words = (NUMBERS, "--param", str(MANY * 10))
    try:
        async with start_query(client.service.url, *words, stdout=writer) as process:
            await poll(is_full, "the pipe doesn't fill")
            process.send_signal(signal.SIGINT)
            done = await finish(process)
    finally:
        os.close(reader)
        os.close(writer)
    assert done.code == 130


async def test_a_reader_that_goes_ends_it_quietly(client):
    async with start_query(client.service.url, NUMBERS, "--param", str(MANY * 10)) as process:
        assert await process.stdout.readline() == b'{"n":1,"word":"row 1"}\n'
        process.stdout._transport.close()
        done = await finish(process)
    assert (done.code, done.err) == (141, "")


async def test_a_full_disk_is_told(client):
    with open("/dev/full", "wb") as full:  # noqa: ASYNC230, PTH123  # a device, nothing to wait for
        async with start_query(client.service.url, "select 1", stdout=full) as process:
            done = await finish(process)
    assert done.code == 5
    assert "No space left" in done.err
