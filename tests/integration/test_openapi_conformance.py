"""A service that runs does what its `/openapi.json` says: schemathesis tries it."""

import asyncio
import os
import sys
from pathlib import Path

from tests.fixtures.service import assert_nothing_left, run_client

ROOT = Path(__file__).parents[2]
SAVED = {
    "sum.sql": "-- param: a int4\n-- param: more int8[] = []\n-- read_only: true\n"
    "select :a + coalesce(sum(n), 0) as sum from unnest(:more) as n\n",
    "typed.sql": "-- param: flag bool\n-- param: rate float8\n-- param: price numeric = 1.10\n"
    '-- param: doc jsonb = {"a": 1}\n-- param: day date = null\n-- param: id uuid = null\n'
    "select :flag, :rate, :price, :doc, :day, :id\n",
}


async def test_the_service_answers_as_its_document_says(upstream, tmp_path):
    for name, text in SAVED.items():
        (tmp_path / name).write_text(text)
    sections = {
        "pool": {"size": 4, "overflow": 0},
        "limits": {"listeners": 0, "timeout_s": 5, "stream_timeout_s": 5},
        "transactions": {"idle_s": 0.5},
        "sql": {"named_dir": tmp_path},
    }
    async with run_client(upstream, **sections) as client:
        code, report = await run_schemathesis(client.service.url)
        assert code == 0, report
        await assert_nothing_left(client, upstream)


async def run_schemathesis(url):
    options = ("--config-file", ROOT / "tests/fixtures/schemathesis.toml", "run")
    command = (sys.executable, "-m", "schemathesis.cli", *options)
    paths = ("--exclude-path-regex", "^/(startup|ready|live|stats)$")  # on the other listener
    process = await asyncio.create_subprocess_exec(
        *command,
        f"{url}/openapi.json",
        *paths,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()
