"""POST /v1/stream: rows as they come, in every format."""

import asyncio
import csv
import gzip
import io
import sys
from decimal import Decimal
from uuid import uuid4

import aiohttp
import nanoarrow as na
import orjson
import pytest

from proxy.query import stream as stream_module
from tests.fixtures.service import assert_nothing_left, observe, run_client
from tests.fixtures.stream import FAILS_LATE, NUMBERS, stream

if sys.version_info >= (3, 14):
    from compression.zstd import decompress as unzstd
else:
    from backports.zstd import decompress as unzstd

pytestmark = pytest.mark.matrix
TYPES = (
    "select 1::int8 as i, null::text as n, 'a\"b,c' as t, true as b, 1.50::numeric as d,"
    " '2026-01-02 03:04:05+00'::timestamptz at time zone 'UTC' as m, '{1,null}'::int4[] as a,"
    " '{\"k\": [1]}'::jsonb as j"
)
ROW = {
    "i": 1,
    "n": None,
    "t": 'a"b,c',
    "b": True,
    "d": "1.50",
    "m": "2026-01-02T03:04:05",
    "a": [1, None],
    "j": {"k": [1]},
}
COLUMNS = ["i", "n", "t", "b", "d", "m", "a", "j"]


@pytest.fixture(scope="module")
async def client(upstream):
    async with run_client(upstream, pool={"size": 2, "overflow": 0}) as running:
        yield running
        await assert_nothing_left(running, upstream)


async def test_ndjson_has_columns_rows_and_one_last_line(client):
    answer = await stream(client, TYPES, headers={"X-Request-Id": "mine"})
    meta, row, end = answer.lines
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/x-ndjson")
    assert meta["meta"]["request_id"] == "mine"
    assert [column["name"] for column in meta["meta"]["columns"]] == COLUMNS
    assert row == {"row": ROW}
    assert (end["end"]["row_count"], end["end"]["command"]) == (1, "SELECT")
    assert end["end"]["elapsed_ms"] > 0


async def test_bare_ndjson_has_rows_alone(client):
    answer = await stream(client, TYPES, query={"envelope": "bare"}, rows="arrays")
    assert answer.lines == [list(ROW.values())]


async def test_csv_has_a_header_and_tells_null_from_empty(client):
    sql = "select 'a\"b,c' as t, null as n, '' as e, true as b"
    answer = await stream(client, sql, headers={"Accept": "text/csv"})
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.body == b't,n,e,b\r\n"a""b,c",,"",true\r\n'


async def test_csv_can_do_without_a_header_and_with_a_word_for_null(client):
    wish = {"format": "csv", "header": "false", "null": "NULL"}
    answer = await stream(client, "select 1, null, 'NULL'", query=wish)
    assert answer.body == b'1,NULL,"NULL"\r\n'


async def test_csv_rows_are_read_by_others(client):
    answer = await stream(client, NUMBERS, 1000, query={"format": "csv"})
    _, *rows = csv.reader(io.StringIO(answer.body.decode()))
    assert rows == [[str(n), f"row {n}"] for n in range(1, 1001)]


async def test_json_is_one_document(client):
    answer = await stream(client, TYPES, headers={"Accept": "application/json"})
    assert answer.json["rows"] == [ROW]
    assert (answer.json["row_count"], answer.json["error"]) == (1, None)


@pytest.mark.parametrize("rows", [0, 1, 2, 5000])
async def test_every_row_comes_once_and_in_order(client, rows):
    lines = (await stream(client, NUMBERS, rows)).lines
    assert [line["row"]["n"] for line in lines[1:-1]] == list(range(1, rows + 1))
    assert lines[-1]["end"]["row_count"] == rows
    document = (await stream(client, NUMBERS, rows, query={"format": "json"})).json
    assert [row["n"] for row in document["rows"]] == list(range(1, rows + 1))


async def test_a_statement_without_rows_tells_how_many_it_changed(client):
    insert = "update pg_temp_none set a = 1" if False else "select 1 where false"
    meta, end = (await stream(client, insert)).lines
    assert len(meta["meta"]["columns"]) == 1
    assert end["end"]["row_count"] == 0


async def test_an_error_before_the_first_row_is_an_ordinary_problem(client):
    answer = await stream(client, "select 1 / 0", query={"format": "csv"})
    assert (answer.status, answer.json["sqlstate"]) == (400, "22012")
    assert answer.headers["Content-Type"].startswith("application/problem+json")


async def test_an_error_after_rows_is_told_in_the_format(client):
    lines = (await stream(client, FAILS_LATE, 100_000)).lines
    problem = lines[-1]["error"]
    assert len(lines) > 2
    assert (problem["sqlstate"], problem["phase"], problem["executed"]) == ("22012", "stream", "no")
    document = (await stream(client, FAILS_LATE, 100_000, query={"format": "json"})).json
    assert document["error"]["sqlstate"] == "22012"
    assert document["row_count"] == len(document["rows"]) > 0


@pytest.mark.parametrize("wish", [{"format": "csv"}, {"envelope": "bare"}, {"format": "arrow"}])
async def test_a_format_without_words_for_it_is_broken_off(client, wish):
    answer = await stream(client, FAILS_LATE, 100_000, query=wish)
    assert (answer.status, answer.is_complete) == (200, False)
    assert answer.body


async def test_options_hold_for_a_stream(client):
    sql = "select current_setting('app.tenant') as t, current_setting('transaction_read_only') as r"
    answer = await stream(client, sql, settings={"app.tenant": "acme"}, read_only=True)
    assert answer.lines[1]["row"] == {"t": "acme", "r": "on"}


async def test_a_limit_that_is_named_holds(client):
    limits = {"rows": 10, "on_exceed": "truncate"}
    lines = (await stream(client, NUMBERS, 100, limits=limits)).lines
    assert (len(lines), lines[-1]["end"]["truncated"]) == (12, True)
    limits["on_exceed"] = "error"
    failed = (await stream(client, NUMBERS, 100, limits=limits, read_only=True)).json
    assert (failed["title"], failed["status"]) == ("result_too_large", 413)


async def test_a_type_that_was_never_met_is_looked_up_beside(client, upstream):
    name = f"mood_{uuid4().hex}"
    async with observe(upstream) as observer:
        await observer.execute(f"create type {name} as enum ('a', 'b')")
        try:
            lines = (await stream(client, f"select '{{a,b}}'::{name}[] as moods")).lines
        finally:
            await observer.execute(f"drop type {name}")
    assert lines[0]["meta"]["columns"][0]["type"] == f"{name}[]"
    assert lines[1] == {"row": {"moods": ["a", "b"]}}


async def test_a_row_over_the_message_limit_says_so(upstream):
    limits = {"message_bytes": 256 * 1024}
    async with run_client(upstream, limits=limits) as narrow:
        answer = await stream(narrow, "select repeat('x', 300000)")
        assert (answer.status, answer.json["title"]) == (413, "result_too_large")
        assert "limits.message_bytes" in answer.json["detail"]
        await assert_nothing_left(narrow, upstream)


async def test_silence_is_filled_with_pings(client, monkeypatch):
    monkeypatch.setattr(stream_module, "PING_S", 0.05)
    sql = "select repeat('x', 9000), pg_sleep(0.3) from generate_series(1, 3)"
    lines = (await stream(client, sql)).lines
    assert {"ping": {}} in lines
    assert lines[-1]["end"]["row_count"] == 3


async def test_arrow_is_read_by_arrow(client):
    columns = "n::int8 as n, n::numeric(8, 2) as d, array[n, null] as a"
    sql = f"select {columns} from generate_series(1, 3) n"
    answer = await stream(client, sql, query={"format": "arrow"})
    assert answer.headers["Content-Type"] == "application/vnd.apache.arrow.stream"
    rows = na.ArrayStream.from_readable(answer.body).read_all().to_pylist()
    assert rows[-1] == {"n": 3, "d": Decimal("3.00"), "a": [3, None]}
    assert len(rows) == 3


@pytest.mark.parametrize(("coding", "expand"), [("gzip", gzip.decompress), ("zstd", unzstd)])
async def test_a_stream_is_compressed_as_asked(client, coding, expand):
    """As raw bytes, since the client's library would expand them itself."""
    options = {"json": {"sql": NUMBERS, "params": [50_000]}, "headers": {"Accept-Encoding": coding}}
    url = f"{client.service.url}/v1/stream"
    async with (
        aiohttp.ClientSession(auto_decompress=False) as session,
        session.post(url, **options) as response,
    ):
        body = await response.read()
    assert response.headers["Content-Encoding"] == coding
    lines = expand(body).splitlines()
    assert (len(lines), orjson.loads(lines[-1])["end"]["row_count"]) == (50_002, 50_000)


@pytest.mark.parametrize(
    ("query", "mistake"),
    [
        ({"format": "xml"}, "format must be one of"),
        ({"format": "json", "envelope": "bare"}, "envelope is for format=ndjson"),
        ({"null": "-"}, "null is for format=csv"),
        ({"format": "csv", "null": "a,b"}, "null must be printable"),
        ({"format": "csv", "header": "no"}, "header must be true or false"),
        ({"envelope": "full"}, "envelope must be bare"),
        ({"limit": "1"}, "'limit' can't stand in the query string"),
    ],
)
async def test_an_option_that_is_wrong_says_how_it_would_be_right(client, query, mistake):
    answer = await stream(client, "select 1", query=query)
    assert (answer.status, answer.json["title"]) == (400, "invalid_request")
    assert mistake in answer.json["detail"]


async def test_a_client_that_takes_none_of_our_formats_is_told(client):
    answer = await stream(client, "select 1", headers={"Accept": "text/html"})
    assert (answer.status, answer.json["title"]) == (406, "not_acceptable")


@pytest.mark.parametrize(("wish", "status"), [("?format=csv", b"505"), ("?format=json", b"200")])
async def test_http_1_0_gets_only_what_says_its_own_end(client, wish, status):
    host, port = client.service.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST /v1/stream{wish} HTTP/1.0\r\nContent-Type: application/sql\r\n"
    writer.write(f"{head}Content-Length: 8\r\n\r\nselect 1".encode())
    answer = await reader.read()
    writer.close()
    assert answer.split()[1] == status
