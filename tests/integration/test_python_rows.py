"""A service whose extension could not be built."""

import aiohttp

from tests.fixtures.program import run_program

WITHOUT_EXTENSION = 'import sys\nsys.modules["proxy.encoders._rows"] = None\n'
SQL = (
    "select n, 'a\"b' || n as t, n % 2 = 0 as b, '\\x00ff'::bytea as y, array[n, null] as a,"
    " '2026-01-02 03:04:05+00'::timestamptz as m from generate_series(1, 3) n"
)
ASKED = (("/v1/query", ""), ("/v1/stream", "?envelope=bare"), ("/v1/stream", "?format=csv"))


async def run_once(dsn):
    """What one service says of its rows in /stats and in its log, and the rows it sends."""
    async with (
        run_program("--upstream.dsn", dsn) as program,
        aiohttp.ClientSession(program.url) as session,
    ):
        async with session.get(program.operations_url + "/stats") as stats:
            rows = (await stats.json())["rows"]
        bodies = [await fetch(session, path, wish) for path, wish in ASKED]
        program.process.terminate()
        await program.wait()
        return rows, warnings(program), bodies


async def fetch(session, path, wish):
    async with session.post(path + wish, json={"sql": SQL}) as answer:
        body = await answer.read()
        assert answer.status == 200, body
        return body.partition(b',"row_count"')[0]


def warnings(program):
    return [record for record in program.records if "in Python" in record["msg"]]


async def test_it_serves_the_same_rows_and_warns_once(servers, tmp_path, monkeypatch):
    dsn = servers.upstream("postgres").dsn
    compiled = await run_once(dsn)
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_EXTENSION)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    rows, (warning,), bodies = await run_once(dsn)
    assert compiled == ("compiled", [], bodies)
    assert (rows, warning["level"]) == ("python", "warning")
