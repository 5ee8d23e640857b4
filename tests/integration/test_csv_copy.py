"""CSV that the service writes is what COPY reads."""

import io

import pytest

from tests.fixtures.service import observe, run_client
from tests.fixtures.stream import stream

WORDS = (
    "plain",
    "",
    None,
    "N",
    r"\.",
    r"\N",
    'a "b", c',
    " blank ",
    "line\nbreak",
    "return\r\n",
    "é😀",
)
VALUES = (
    "select w, w = '' as b, '2026-01-02 03:04:05.6+00'::timestamptz as m, array[w, 'x'] as a,"
    " '\\x00ff'::bytea as y from unnest($1::text[]) w"
)


@pytest.mark.parametrize("null", ["", "N", "true"])
@pytest.mark.parametrize("name", ["postgres", "postgres-15"])
async def test_copy_reads_the_rows_back(servers, name, null):
    upstream = servers.upstream(name)
    columns = "(w text, b boolean, m timestamptz, a text[], y bytea)"
    await assert_copied(upstream, VALUES, columns, null)


@pytest.mark.parametrize("name", ["postgres", "postgres-15"])
async def test_copy_reads_a_single_column_back(servers, name):
    """A line of `\\.` alone would end the data."""
    sql = "select w from unnest($1::text[]) w"
    await assert_copied(servers.upstream(name), sql, "(w text)", "")


async def assert_copied(upstream, sql, columns, null):
    """What is streamed and copied into a table is what the statement returns."""
    async with run_client(upstream) as client, observe(upstream) as observer:
        answer = await stream(client, sql, WORDS, query={"format": "csv", "null": null})
        assert answer.status == 200, answer.body
        await observer.execute(f"create temp table copied {columns}")
        await observer.copy_to_table(
            "copied", source=io.BytesIO(answer.body), format="csv", header=True, null=null
        )
        assert await observer.fetch("table copied") == await observer.fetch(sql, WORDS)
