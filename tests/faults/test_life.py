"""The life of the process: start, drain, end."""

import asyncio
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from tests.fixtures.program import Program, run_program
from tests.fixtures.servers import Upstream
from tests.fixtures.service import poll

SLEEP = "select pg_sleep($1::float8), 'slept' as word"


async def test_sigterm_ends_an_idle_service_with_0(upstream: Upstream):
    async with run_program("--upstream.dsn", upstream.dsn) as program:
        program.process.send_signal(signal.SIGTERM)
        assert await program.wait() == 0


async def test_the_printed_curl_line_works(upstream: Upstream):
    async with run_program("--upstream.dsn", upstream.dsn) as program:
        curl = await asyncio.create_subprocess_exec(*program.curl, stdout=asyncio.subprocess.PIPE)
        answer, _ = await curl.communicate()
        assert b'"PostgreSQL 18' in answer


async def test_a_drain_finishes_what_runs_and_refuses_what_comes(upstream: Upstream):
    async with (
        run_program("--upstream.dsn", upstream.dsn) as program,
        aiohttp.ClientSession() as session,
    ):
        running = asyncio.ensure_future(_query(session, program, SLEEP, 1))
        await _wait_for_statement(upstream)
        program.process.send_signal(signal.SIGTERM)

        async def is_refused() -> bool:
            status, problem = await _query(session, program, "select 1")
            return status == 503 and problem["title"] == "draining"

        await poll(is_refused, "new requests are taken while it drains")
        async with session.get(f"{program.operations_url}/ready") as ready:
            assert ready.status == 503
        status, answer = await running
        assert (status, answer["rows"][0]["word"]) == (200, "slept")
        assert await program.wait() == 0
    await _assert_no_login_left(upstream)


async def test_a_drain_cancels_what_outlives_its_limit(upstream: Upstream):
    flags = ("--upstream.dsn", upstream.dsn, "--http.drain_timeout_s", "0.2")
    async with run_program(*flags) as program, aiohttp.ClientSession() as session:
        running = asyncio.ensure_future(_query(session, program, SLEEP, 60))
        await _wait_for_statement(upstream)
        program.process.send_signal(signal.SIGTERM)
        assert await program.wait() == 0
        status, problem = await running
        assert (status, problem["title"], problem["executed"]) == (503, "draining", "no")
    await _assert_no_login_left(upstream)


async def test_a_second_signal_ends_the_drain_at_once(upstream: Upstream):
    async with (
        run_program("--upstream.dsn", upstream.dsn) as program,
        aiohttp.ClientSession() as session,
    ):
        running = asyncio.ensure_future(_query(session, program, SLEEP, 60))
        await _wait_for_statement(upstream)
        program.process.send_signal(signal.SIGINT)

        async def is_draining() -> bool:
            return (await _query(session, program, "select 1"))[0] == 503

        await poll(is_draining, "it doesn't drain")
        program.process.send_signal(signal.SIGINT)
        assert await program.wait() == 1
        assert (await running)[1]["title"] == "draining"


async def test_a_unix_socket_serves_its_group_and_replaces_a_stale_one(
    upstream: Upstream, tmp_path: Path
):
    path = tmp_path / "http.sock"
    for _ in range(2):  # the second start finds the first one's socket, since that was killed
        flags = ("--upstream.dsn", upstream.dsn, "--http.unix_socket", str(path))
        async with (
            run_program(*flags) as program,
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        ):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
            status, answer = await _query(session, program, "select 7 as n")
            assert (status, answer["rows"]) == (200, [{"n": 7}])
            program.process.kill()


async def test_one_log_line_per_request_without_sql_or_parameters(upstream: Upstream):
    async with (
        run_program("--upstream.dsn", upstream.dsn) as program,
        aiohttp.ClientSession() as session,
    ):
        await _query(session, program, "select $1 as planted_name", "planted value")
        await _query(session, program, "select planted_error from planted_table")
        await _query(session, program, "select $1::int as n", "planted number")
        program.process.send_signal(signal.SIGTERM)
        await program.wait()
    records = [record for record in program.records if record["msg"] == "request"]
    assert [record["status"] for record in records] == [200, 400, 400]
    assert [record.get("sqlstate") for record in records] == [None, "42P01", "22P02"]
    assert records[0]["route"] == "/v1/query"
    assert records[0]["rows"] == 1
    assert records[0]["total_ms"] > 0
    assert not any("planted" in line for line in program.lines)


async def test_a_start_on_a_database_that_does_not_exist_fails_with_a_sentence(upstream: Upstream):
    dsn = upstream.dsn.removesuffix("/app") + "/nowhere"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "serve", "--upstream.dsn", dsn, "--http.port", "0"),
        *("--ops.port", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, stderr = await process.communicate()
    assert process.returncode == 1
    assert b"refuses our login" in stderr
    assert b"nowhere" in stderr
    assert b"Traceback" not in stderr


async def _query(
    session: aiohttp.ClientSession, program: Program, sql: str, *params: Any
) -> tuple[int, Any]:
    body = {"sql": sql, "params": params}
    async with session.post(f"{program.url}/v1/query", json=body) as response:
        return response.status, await response.json(content_type=None)


async def _wait_for_statement(upstream: Upstream) -> None:
    sql = "select count(*) from pg_stat_activity where query = $1 and state = 'active'"
    await _poll_server(upstream, sql, SLEEP, 1, "the statement doesn't run")


async def _assert_no_login_left(upstream: Upstream) -> None:
    """No statement goes on, and directly no connection stays."""
    sql = "select count(*) from pg_stat_activity where query = $1 and state = 'active'"
    await _poll_server(upstream, sql, SLEEP, 0, "the statement goes on")


async def _poll_server(upstream: Upstream, sql: str, text: str, count: int, what: str) -> None:
    observer = await asyncpg.connect(upstream.postgres_dsn)
    try:

        async def is_so() -> bool:
            return await observer.fetchval(sql, text) == count

        await poll(is_so, what)
    finally:
        await observer.close()
