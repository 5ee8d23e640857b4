"""Malformed and hostile requests: always a 4xx that names the mistake, and nothing left behind."""

import asyncio
from collections.abc import AsyncIterator
from io import BytesIO

import orjson
import pytest

from tests.fixtures.service import Client, Reply, run_client

JSON = {"Content-Type": "application/json"}
SQL = {"Content-Type": "application/sql"}
DEEP = 100_000

MALFORMED = {
    "empty": (b"", "not valid JSON"),
    "cut off": (b'{"sql": "select 1"', "ends too early"),
    "two documents": (b'{"sql": "select 1"} {}', "not valid JSON"),
    "single quotes": (b"{'sql': 'select 1'}", "not valid JSON"),
    "no object": (b'["select 1"]', "must be a JSON object"),
    "null": (b"null", "must be a JSON object"),
    "no sql": (b'{"params": []}', "the member 'sql' is missing"),
    "sql null": (b'{"sql": null}', "sql must be the statement, a string"),
    "sql a number": (b'{"sql": 1}', "sql must be the statement, a string"),
    "sql empty": (b'{"sql": " \\n"}', "sql is empty"),
    "params for nothing": (b'{"sql": "select 1", "params": {"a": 1}}', "no parameter :a"),
    "params a string": (b'{"sql": "select 1", "params": "1"}', "params must be an array"),
    "types a number": (b'{"sql": "select 1", "types": [1]}', "types must be an array"),
    "timeout 0": (b'{"sql": "select 1", "timeout_ms": 0}', "timeout_ms must be a whole number"),
    "timeout 1.5": (b'{"sql": "select 1", "timeout_ms": 1.5}', "timeout_ms must be"),
    "limit -1": (b'{"sql": "select 1", "limits": {"rows": -1}}', "limits must be an object"),
    "misspelt": (b'{"sql": "select 1", "parms": []}', "'parms'; did you mean 'params'?"),
    "unknown": (b'{"sql": "select 1", "zzz": []}', "unknown member 'zzz'"),
    "misspelt limit": (
        b'{"sql": "select 1", "limits": {"row": 1}}',
        "'row'; did you mean 'rows'?",
    ),
    "not UTF-8": (b'{"sql": "select \xff"}', "not UTF-8"),
    "UTF-16": ('{"sql": "select 1"}'.encode("utf-16"), "not UTF-8"),
    "lone surrogate in sql": (rb'{"sql": "select \ud800 1"}', "surrogate"),
    "lone surrogate in a parameter": (
        rb'{"sql": "select $1", "params": ["\udc00"]}',
        "surrogate pair",
    ),
    "surrogate in UTF-8": (b'{"sql": "select \xed\xa0\x80"}', "not UTF-8"),
    "NUL in sql": (rb'{"sql": "select \u0000 1"}', "sql contains a NUL"),
    "NUL in a parameter": (rb'{"sql": "select $1", "params": ["a\u0000"]}', "$1 contains"),
    "NUL in an array": (rb'{"sql": "select $1", "params": [["a\u0000"]]}', "$1 contains"),
    "NaN": (b'{"sql": "select $1", "params": [NaN]}', "not valid JSON"),
    "no base64": (b'{"sql": "select $1", "params": [{"$bytea": 1}]}', "base64"),
    "deep in params": (
        b'{"sql": "select $1", "params": [' + b"[" * DEEP + b"]" * DEEP + b"]}",
        "nested too deeply",
    ),
    "deep objects": (
        b'{"sql": "select $1", "params": [' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"]}",
        "nested too deeply",
    ),
    "deep in an unknown member": (
        b'{"sql": "select 1", "zzz": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        "unknown member 'zzz'",
    ),
    "deep and open": (b"[" * DEEP, "must be a JSON object"),
}


async def post_body(client: Client, body: bytes, headers: dict[str, str] = JSON) -> Reply:
    """Send bytes as they are; as a file, since aiohttp warns of large bytes."""
    return await client.post("/v1/query", data=BytesIO(body), headers=headers)


def assert_refused(reply: Reply, status: int, words: str) -> None:
    """Assert that a request is refused before anything was executed, in words that help."""
    assert reply.status == status, reply.body[:500]
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert words in reply.json["detail"]
    assert reply.json["executed"] == "no"


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_malformed_body_is_told_what_is_wrong(client: Client, name):
    body, words = MALFORMED[name]
    assert_refused(await post_body(client, body), 400, words)


async def test_arrays_nested_deeper_than_postgres_has_dimensions_are_refused(client: Client):
    value: list[object] = []
    for _ in range(30):
        value = [value]
    assert_refused(await client.query("select $1::int[]", value), 400, "number of array dimensions")


@pytest.mark.parametrize("count", [1, 32_767])
async def test_many_parameters_that_nobody_takes_are_refused(client: Client, count):
    body = orjson.dumps({"sql": "select 1", "params": [1] * count})
    reply = await post_body(client, body)
    assert_refused(reply, 400, f"supplies {count} parameters")


@pytest.mark.parametrize("count", [32_768, 40_000, 70_000])
async def test_more_parameters_than_fit_get_the_remedy(client: Client, count):
    body = orjson.dumps({"sql": "select 1", "params": [1] * count})
    assert_refused(await post_body(client, body), 400, "unnest")


async def test_a_statement_over_its_limit_is_refused(client: Client):
    body = orjson.dumps({"sql": f"select '{'x' * 2_000_000}'"})
    assert_refused(await post_body(client, body), 413, "limits.sql_bytes")


@pytest.mark.parametrize("headers", [JSON, SQL])
async def test_five_megabytes_of_sql_are_refused(client: Client, headers):
    body = orjson.dumps({"sql": f"select '{'x' * 5_000_000}'"})
    assert_refused(await post_body(client, body, headers), 413, "limits.body_bytes")


async def test_a_body_over_its_limit_is_refused_without_a_length(client: Client):
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(6):
            yield b" " * 1_000_000

    reply = await client.post("/v1/query", data=chunks(), headers=JSON)
    assert_refused(reply, 413, "limits.body_bytes")


@pytest.mark.parametrize(
    ("sql", "sqlstate"),
    [(f"select {'(' * DEEP}1{')' * DEEP}", "42601"), (f"select 1{'+1' * DEEP}", "54001")],
)
async def test_nested_sql_is_refused_by_the_server(client: Client, sql, sqlstate):
    reply = await post_body(client, orjson.dumps({"sql": sql}))
    assert reply.json["sqlstate"] == sqlstate
    assert reply.status == 400


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""]
)
async def test_another_content_type_is_refused(client: Client, content_type):
    reply = await post_body(client, b'{"sql": "select 1"}', {"Content-Type": content_type})
    assert_refused(reply, 415, "application/sql")


async def test_a_content_type_may_have_parameters(client: Client):
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert (await post_body(client, b'{"sql": "select 1"}', headers)).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "identity, gzip"])
async def test_a_compressed_body_is_refused(client: Client, encoding):
    headers = {**JSON, "Content-Encoding": encoding}
    assert_refused(await post_body(client, b"\x1f\x8b", headers), 415, "compressed")


@pytest.mark.parametrize(
    ("query_string", "words"),
    [
        ("p=%00", "$1 contains"),
        ("p=%ED%A0%80", "not UTF-8"),
        ("p=%FF", "not UTF-8"),
        ("q=1", "unknown query parameter 'q'"),
    ],
)
async def test_a_bad_query_string_is_refused(client: Client, query_string, words):
    url = f"{client.service.url}/v1/query?{query_string}"
    reply = await send_raw(url, b"select $1", SQL)
    assert reply.startswith("HTTP/1.1 400")
    assert words in reply


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "sql is empty"),
        (b"select '\0'", "contains a NUL"),
        (b"select '\xff'", "the statement is not UTF-8"),
    ],
)
async def test_a_bad_bare_statement_is_refused(client: Client, body, words):
    assert_refused(await post_body(client, body, SQL), 400, words)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_another_method_is_refused(client: Client, method):
    async with client.session.request(method, f"{client.service.url}/v1/query") as response:
        problem = await response.json(content_type="application/problem+json")
        assert response.status == 405
        assert response.headers["Allow"] == "POST"
        assert problem["title"] == "method_not_allowed"
        assert "POST" in problem["detail"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/query/", "/v1/queries%00", "/../etc/passwd"])
async def test_an_unknown_path_is_not_found(client: Client, path):
    reply = await client.post(path, data=b"{}")
    assert reply.json["title"] == "not_found"
    assert_refused(reply, 404, path.partition("%")[0].replace("/..", ""))


async def test_a_body_that_never_ends_times_out(upstream):
    async with run_client(upstream, http={"body_timeout_s": 0.2}) as client:
        head = f"POST /v1/query HTTP/1.1\r\nHost: [::1]\r\nContent-Type: {JSON['Content-Type']}\r\n"
        reply = await exchange(client.service.url, f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert reply.startswith("HTTP/1.1 408")
        assert "did not arrive within 0.2 s" in reply
        assert (await client.pool())["in_use"] == 0


async def test_what_is_no_http_gets_no_statement_through(client: Client):
    reply = await exchange(client.service.url, b"\x00\x00\x00\x08\x04\xd2\x16\x2f\r\n\r\n")
    assert reply.startswith(("HTTP/1.0 400", "HTTP/1.1 400"))
    assert await client.value("select 1") == 1


async def send_raw(url: str, body: bytes, headers: dict[str, str]) -> str:
    """POST to a URL exactly as it is written; clients tidy up bad escapes."""
    address, _, path = url.removeprefix("http://").partition("/")
    lines = [f"POST /{path} HTTP/1.1", f"Host: {address}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return await exchange(url, "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)


async def exchange(url: str, request: bytes) -> str:
    """Send bytes over a socket of their own and read the answer up to its blank line and body."""
    host, port = url.removeprefix("http://").partition("/")[0].split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        async with asyncio.timeout(10):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            return (head + await reader.read(65_536)).decode()
    finally:
        writer.close()
        await writer.wait_closed()
