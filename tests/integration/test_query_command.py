"""`pgsidecar query`: what it asks for, and what it prints."""

import asyncio
import os
import pty
import sys

import orjson
import pytest

from tests.fixtures.command import DEADLINE_S, WORDS, finish, query, start_query
from tests.fixtures.logins import TOKENS, run_known
from tests.fixtures.service import assert_nothing_left, run_client
from tests.fixtures.stream import NUMBERS, stream

FILES = {
    "user.sql": "-- param: id int4\n-- read_only: true\n"
    "select id, name, null as n, '' as e, array[id] as a from users where id = :id\n",
    "doc.sql": "-- param: doc jsonb\n-- read_only: true\nselect :doc as doc\n",
}
TYPES = "select 1::int8 as i, null as n, '' as e, 'a\"b' as t, 1.50 as d, array[1, null] as a"


@pytest.fixture(scope="module")
async def shared_client(upstream, notes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("queries")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    named, session = {"named_dir": folder}, {"allowed_roles": ["clerk"]}
    pool = {"size": 4, "overflow": 0}
    async with run_client(upstream, sql=named, session=session, pool=pool) as client:
        yield client


async def read_terminal(master):
    """Read what a terminal shows until nobody has it open any more."""
    loop, shown = asyncio.get_running_loop(), bytearray()

    def read():
        try:
            while piece := os.read(master, 4096):
                shown.extend(piece)
        except OSError:  # as Linux says of a terminal that nobody has open
            pass
        return shown.decode()

    async with asyncio.timeout(DEADLINE_S):
        return await loop.run_in_executor(None, read)


async def run_on_terminal(client, stream_name, *arguments):
    """Run a command one of whose streams is a terminal; returns what that shows, and its end."""
    master, slave = pty.openpty()
    try:
        async with start_query(client.service.url, *arguments, **{stream_name: slave}) as process:
            os.close(slave)
            shown, done = await asyncio.gather(read_terminal(master), finish(process))
    finally:
        os.close(master)
    return shown.replace("\r\n", "\n"), done


async def test_a_script_gets_a_line_of_json_for_each_row(client):
    done = await query(client, TYPES)
    assert (done.code, done.err) == (0, "")
    assert done.out == b'{"i":1,"n":null,"e":"","t":"a\\"b","d":"1.50","a":[1,null]}\n'


async def test_a_terminal_gets_a_table(client):
    shown, done = await run_on_terminal(client, "stdout", "select 1 as n, 'x' as name")
    assert (done.code, shown) == (0, "n | name\n--+-----\n1 | x\n(1 row)\n")


async def test_json_is_the_document_of_a_query(client):
    document = orjson.loads((await query(client, TYPES, "--format", "json")).out)
    expected = (await client.query(TYPES)).json
    assert {**document, "elapsed_ms": 0} == {**expected, "elapsed_ms": 0}


async def test_csv_is_that_of_the_stream(client):
    done = await query(client, TYPES, "--format", "csv")
    expected = await stream(client, TYPES, query={"format": "csv"})
    assert (done.code, done.out) == (0, expected.body)


async def test_a_table_ends_and_says_so(client):
    done = await query(client, NUMBERS, "--param", "5000", "--format", "table")
    lines = done.out.decode().splitlines()
    assert (done.code, len(lines)) == (0, 1003)
    assert lines[-1] == "(1000 rows; there are more; --format ndjson has everything)"


async def test_a_write_without_rows_prints_nothing_but_in_a_table(client):
    sql = "update notes set n = n where id = 1"
    assert (await query(client, sql)).out == b""
    assert (await query(client, sql, "--format", "table")).out == b"UPDATE 1\n"


async def test_parameters_go_by_position(client):
    sql = "select $1::int4 as a, $2 as b, $3::text as c, $4::text as d, $5::int4[] as e"
    texts = ("7", "=x=y", ":=null", ":=1.10", ":=[1, null]")
    done = await query(client, sql, *(word for text in texts for word in ("--param", text)))
    assert done.rows == [{"a": 7, "b": "x=y", "c": None, "d": "1.10", "e": [1, None]}]


async def test_parameters_go_by_name(client):
    words = ("--param", "n=7", "--param", 'doc:={"a": [1]}')
    done = await query(client, "select :n::int4 as n, :doc::jsonb as doc", *words)
    assert done.rows == [{"n": 7, "doc": {"a": [1]}}]


@pytest.mark.parametrize("name", ["-", "file"])
async def test_the_statement_comes_from_a_file(client, tmp_path, name):
    sql = "-- a comment\nselect 'é' as t;\n".encode()
    (tmp_path / "file").write_bytes(sql)
    file = "-" if name == "-" else str(tmp_path / name)
    assert (await query(client, "--file", file, given=sql)).rows == [{"t": "é"}]


@pytest.mark.parametrize(
    ("form", "printed"),
    [
        ("ndjson", '{"id":7,"name":"Grace 7","n":null,"e":"","a":[7]}\n'),
        ("csv", 'id,name,n,e,a\r\n7,Grace 7,,"",[7]\r\n'),
        (
            "table",
            """id | name    | n    | e | a
---+---------+------+---+----
 7 | Grace 7 | NULL |   | [7]
(1 row)
""",
        ),
    ],
)
async def test_a_saved_query_has_every_format(client, form, printed):
    done = await query(client, "--named", "user", "--param", "id=7", "--format", form)
    assert (done.code, done.out.decode()) == (0, printed)


async def test_a_saved_query_as_json_is_what_the_service_answers(client):
    done = await query(client, "--named", "user", "--param", "id:=7", "--format", "json")
    expected = (await client.get("/v1/named/user?id=7")).json
    assert {**orjson.loads(done.out), "elapsed_ms": 0} == {**expected, "elapsed_ms": 0}


async def test_a_saved_query_takes_json_as_json(client):
    done = await query(client, "--named", "doc", "--param", 'doc:={"a": 1}')
    assert done.rows == [{"doc": {"a": 1}}]


async def test_a_role_is_taken_on(client):
    assert (await query(client, "select current_user", "--role", "clerk")).rows == [
        {"current_user": "clerk"}
    ]


async def test_a_write_is_refused_where_reading_is_asked_for(client):
    done = await query(client, "update notes set n = 1", "--read-only")
    assert done.code == 1
    assert "sqlstate: 25006\n" in done.err


async def test_the_tag_comes_to_the_server(client):
    seen = "select query from pg_stat_activity where pid = pg_backend_pid()"
    (row,) = (await query(client, seen, "--tag", "nightly")).rows
    assert row["query"].endswith("-- nightly")


async def test_notices_are_said_on_stderr(client):
    done = await query(client, "do $$ begin raise warning E'mind\\nthis'; end $$")
    assert (done.code, done.out, done.err) == (0, b"", "WARNING: mind\\nthis\n")


async def test_the_address_comes_from_the_environment(client):
    environment = {"PGSIDECAR_URL": client.service.url}
    async with start_query("", "select 1 as n", environment=environment) as process:
        assert (await finish(process)).rows == [{"n": 1}]


async def test_a_token_comes_from_a_file_or_the_environment(upstream, tmp_path):
    folder = tmp_path / "tokens"
    folder.mkdir()
    async with run_known(upstream, folder) as client:
        url, sql = client.service.url, "select 1 as n"
        async with start_query(url, sql, "--token-file", f"{folder}/guest") as process:
            assert (await finish(process)).rows == [{"n": 1}]
        environment = {"PGSIDECAR_TOKEN": TOKENS["guest"]}
        async with start_query(url, sql, environment=environment) as process:
            assert (await finish(process)).rows == [{"n": 1}]
        async with start_query(url, sql) as process:
            done = await finish(process)
        assert (done.code, "unauthorized" in done.err) == (3, True)


@pytest.mark.parametrize("scheme", ["", "unix:"])
async def test_a_unix_socket_is_an_address(upstream, home, scheme):
    path = home / f"query-{upstream.kind}-{upstream.pool_mode}{len(scheme)}.sock"
    async with (
        run_client(upstream, http={"unix_socket": path}) as client,
        start_query(f"{scheme}{path}", "select 1 as n") as process,
    ):
        assert (await finish(process)).rows == [{"n": 1}]
        await assert_nothing_left(client, upstream)


async def test_a_long_stream_shows_its_progress(client, tmp_path):
    sql = "select n, pg_sleep(0.004) from generate_series(1, 300) n"
    shown, done = await run_on_terminal(client, "stderr", sql)
    assert (done.code, len(done.rows)) == (0, 300)
    assert " MB, 1 s" in shown
    assert shown.endswith("\x1b[K")


async def test_a_script_sees_no_progress(client):
    sql = "select n, pg_sleep(0.004) from generate_series(1, 300) n"
    assert (await query(client, sql)).err == ""


@pytest.mark.parametrize("form", ["ndjson", "json", "csv"])
async def test_a_big_result_takes_no_more_memory_than_a_small_one(client, form):
    program = (
        "import resource, sys; from proxy.cli import main; code = main(); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr); sys.exit(code)"
    )

    async def measure(rows):
        words = (sys.executable, "-c", program, *WORDS[3:], "--url", client.service.url)
        sql = "select repeat('x', 1000) as x from generate_series(1, $1::int4)"
        process = await asyncio.create_subprocess_exec(
            *(*words, sql, "--param", str(rows), "--format", form),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        done = await finish(process)
        assert done.code == 0, done.err
        return len(done.out), int(done.err)

    (_, small_kib), (size, big_kib) = await measure(1), await measure(60_000)
    assert size > 60_000_000
    assert big_kib - small_kib < 15 * 1024
