"""POST /v1/copy/{table}: bulk loads, all or nothing, in every pool mode."""

import asyncio
import io
import json
from collections.abc import AsyncIterator

import pytest

from tests.fixtures.load import CSV, NDJSON, load, open_table, quote_sql
from tests.fixtures.service import Client, assert_nothing_left, run_client

pytestmark = pytest.mark.matrix
COLUMNS = "id int primary key, word text, amount numeric, doc jsonb, tags text[]"


@pytest.fixture(scope="module")
async def client(upstream):
    async with run_client(upstream, pool={"size": 2, "overflow": 0}) as running:
        yield running
        await assert_nothing_left(running, upstream)


@pytest.fixture
async def table(upstream):
    async with open_table(upstream, COLUMNS) as name:
        yield name


async def rows(client: Client, table: str, columns: str = "*") -> list:
    return await client.rows(f'select {columns} from "{table}" order by 1', rows="arrays")


async def test_csv_is_loaded_by_the_names_in_its_first_line(client, table):
    body = b'word,id,amount\r\n"a ""b"", c",1,1.50\r\n,2,\r\n"",3,\r\n"two\nlines",4,-1\r\n'
    reply = await load(client, table, body)
    assert (reply.status, reply.json["row_count"], reply.json["command"]) == (200, 4, "COPY")
    assert reply.json["elapsed_ms"] > 0
    assert "queue" in reply.headers["Server-Timing"]
    assert await rows(client, table, "id, word, amount") == [
        [1, 'a "b", c', "1.50"],
        [2, None, None],
        [3, "", None],
        [4, "two\nlines", "-1"],
    ]


async def test_csv_is_loaded_by_the_names_in_the_address(client, table):
    assert (
        await load(client, table, b"1,x\n2,NULL\n", columns="id,word", null="NULL")
    ).status == 200
    body = b"ignored,line\n3,z\n"
    assert (await load(client, table, body, columns="id,word", header="true")).status == 200
    assert await rows(client, table, "id, word") == [[1, "x"], [2, None], [3, "z"]]


async def test_csv_without_any_names_fills_the_columns_in_their_order(client, table):
    body = b'1,w,2.5,"{""a"": 1}","{x,y}"\n'
    assert (await load(client, table, body, header="false")).status == 200
    assert await rows(client, table) == [[1, "w", "2.5", {"a": 1}, ["x", "y"]]]


async def test_objects_are_loaded_by_their_members(client, table):
    lines = [
        {"id": 1, "word": "tab\tback\\slash\nline\r", "doc": {"a": [1, None]}, "tags": ["x", None]},
        {"id": 2, "doc": "a string", "tags": []},
        {"word": "\\.", "id": 3, "doc": ["x"]},
        {"id": 4, "doc": {"$json": 7}, "tags": ["a,b", '"q"', "\\"]},
    ]
    body = "\n".join(map(json.dumps, lines)).encode()
    reply = await load(client, table, body, NDJSON)
    assert (reply.status, reply.json["row_count"]) == (200, 4), reply.json
    assert await rows(client, table, "id, word, doc, tags") == [
        [1, "tab\tback\\slash\nline\r", {"a": [1, None]}, ["x", None]],
        [2, None, "a string", []],
        [3, "\\.", ["x"], None],
        [4, None, 7, ["a,b", '"q"', "\\"]],
    ]


async def test_arrays_are_loaded_in_the_order_of_the_columns(client, table):
    assert (await load(client, table, b'[1,"a",1.10,null,null]\n', NDJSON)).status == 200
    body = b'["b",2]\n["c",3]'
    assert (await load(client, table, body, NDJSON, columns="word,id")).status == 200
    assert await rows(client, table, "id, word, amount") == [
        [1, "a", "1.10"],
        [2, "b", None],
        [3, "c", None],
    ]


async def test_every_digit_of_a_number_is_kept(client, table):
    digits = "123456789012345678901234567890.1000"
    assert (
        await load(client, table, b'{"id":1,"amount":%b}' % digits.encode(), NDJSON)
    ).status == 200
    assert await rows(client, table, "amount") == [[digits]]


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        (CSV, 'id,word\n1,"ä\n""x"\n2,é\n'),
        (NDJSON, '{"id":1,"word":"ä\\n\\"x"}\n{"word":"é","id":2}'),
    ],
)
async def test_what_is_split_anywhere_arrives_whole(client, table, headers, text):
    body = text.encode()

    async def one_by_one() -> AsyncIterator[bytes]:
        for place in range(len(body)):
            yield body[place : place + 1]
            await asyncio.sleep(0)

    assert (await load(client, table, one_by_one(), headers)).status == 200
    assert await rows(client, table, "id, word") == [[1, 'ä\n"x'], [2, "é"]]


async def test_a_large_load_is_complete(client, table):
    lines = b"".join(b"%d,word %d\n" % (n, n) for n in range(200_000))
    reply = await load(client, table, io.BytesIO(lines), columns="id,word")
    assert reply.json["row_count"] == 200_000
    assert await rows(client, table, "count(*), max(word)") == [[200_000, "word 99999"]]


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        (CSV, b"id,word\n1,a\nx,b\n", ("22P02", 3, "id")),
        (CSV, b"id,word\n1,a\n2\n", ("22P04", 3, None)),
        (CSV, b"id,word\n1,a\n1,b\n", ("23505", 3, None)),
        (NDJSON, b'{"id":1}\n{"id":"x"}\n', ("22P02", 2, "id")),
        (NDJSON, b'{"id":1}\n{"id":1}\n', ("23505", 2, None)),
    ],
)
async def test_an_error_of_a_line_names_it_and_nothing_is_loaded(
    client, table, headers, body, expected
):
    problem = (await load(client, table, body, headers)).json
    assert (problem["sqlstate"], problem["line"], problem["column"]) == expected
    assert problem["executed"] == "no"
    assert await rows(client, table, "count(*)") == [[0]]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"id":1}\n{"idd":2}', "line 2 has a member 'idd', which is no column"),
        (b'{"id":1}\n{"id":2', "line 2 is neither a JSON object nor an array"),
        (b'{"id":1}\n\n{"id":2}', "line 2 is neither"),
        (b'{"id":1}\n{"id":"\xff"}', "line 2 is neither"),
        (b'{"id":1,"word":"a\\u0000b"}', "line 1 contains \\u0000"),
        (b'{"id":1}\n[1,2]', "line 2 has 2 values for 1 columns"),
        (b"7", "line 1 is neither"),
    ],
)
async def test_a_line_that_is_no_row_is_refused_with_its_number(client, table, body, words):
    reply = await load(client, table, body, NDJSON)
    assert (reply.status, reply.json["executed"]) == (400, "no")
    assert words in reply.json["detail"]
    assert reply.json["line"] == int(words.split()[1])
    assert await rows(client, table, "count(*)") == [[0]]


@pytest.mark.parametrize("headers", [CSV, NDJSON])
async def test_an_empty_body_is_refused_where_it_should_say_the_columns(client, table, headers):
    reply = await load(client, table, b"", headers)
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")
    assert "the body is empty" in reply.json["detail"]


async def test_no_rows_are_no_mistake(client, table):
    assert (await load(client, table, b"id,word\n")).json["row_count"] == 0
    assert (await load(client, table, b"", columns="id")).json["row_count"] == 0


@pytest.mark.parametrize(
    "name", ['Mixed "quoted" name', "drop table users; --", "semi;colon.dot", "ä'b", "select"]
)
async def test_a_name_means_itself_whatever_it_holds(client, upstream, name):
    async with open_table(upstream, '"Order" int, "a,b" text', name):
        quoted = quote_sql(name)
        body = b'Order,"a,b"\n1,x\n'
        assert (await load(client, f"public.{quoted}", body)).json["row_count"] == 1
        lines = b'{"Order":2,"a,b":"y"}'
        assert (await load(client, quoted, lines, NDJSON)).json["row_count"] == 1
        assert await client.value(f"select count(*) from {quoted}") == 2


@pytest.mark.parametrize(
    "hostile", ["id) from stdin; drop table users; --", 'id"', "id, (select 1)"]
)
async def test_a_column_name_can_not_leave_its_quotes(client, table, hostile):
    header = quote_sql(hostile) + "\n1\n"
    reply = await load(client, table, header.encode())
    assert (reply.status, reply.json["sqlstate"]) == (400, "42703")
    reply = await load(client, table, json.dumps({hostile: 1}).encode(), NDJSON)
    assert (reply.status, reply.json["sqlstate"]) == (400, "42703")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.b.c", "table or schema.table"),
        ("a.", "table or schema.table"),
        ("x" * 64, "longer than 63 bytes"),
        ("a\0b", "NUL"),
    ],
)
async def test_what_is_no_name_is_refused(client, name, words):
    reply = await load(client, name, b"id\n1\n")
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")
    assert words in reply.json["detail"]


async def test_an_unknown_table_is_the_servers_error(client):
    for headers, body in ((CSV, b"id\n1\n"), (NDJSON, b'{"id":1}')):
        reply = await load(client, "no_such_table", body, headers)
        assert (reply.status, reply.json["sqlstate"], reply.json["position"]) == (
            400,
            "42P01",
            None,
        )


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({"colums": "id"}, "did you mean 'columns'"),
        ({"header": "yes"}, "header must be true or false"),
        ({"null": '"'}, "null must be printable"),
        ({"timeout_ms": "x"}, "timeout_ms must be a whole number"),
        ({"columns": ""}, "columns must be names"),
        ({"columns": "id,"}, "a name is empty"),
    ],
)
async def test_a_wrong_option_is_refused(client, table, query, words):
    reply = await load(client, table, b"1\n", **query)
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")
    assert words in reply.json["detail"]


async def test_other_bodies_are_refused(client, table):
    assert (await load(client, table, b"{}", {"Content-Type": "application/json"})).status == 415
    assert (await load(client, table, b"x", {**CSV, "Content-Encoding": "gzip"})).status == 415
    assert (await load(client, table, b"1", NDJSON, header="true")).status == 400


async def test_a_role_that_requests_may_not_ask_for_is_refused(client, table):
    assert (await load(client, table, b"id\n1\n", role="postgres")).status == 403


async def test_loads_are_counted(client, table):
    before = (await client.operations("/stats")).json["events"]["rows_loaded"]["total"]
    await load(client, table, b"id\n1\n2\n")
    after = (await client.operations("/stats")).json["events"]["rows_loaded"]["total"]
    assert after - before == 2
