"""How a load ends when it can't end well: nothing of it is in the table, and nothing is left."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from proxy.errors import Draining
from tests.fixtures.load import Sender, load, open_table
from tests.fixtures.service import (
    OUR_NAME,
    Client,
    assert_nothing_left,
    find_backend,
    observe,
    poll,
    run_client,
)

pytestmark = pytest.mark.matrix
POOL = {"size": 2, "overflow": 0}
LINE = b"%d," + b"x" * 1000 + b"\n"
MUCH = b"".join(LINE % n for n in range(1000))  # a megabyte
HELD_BYTES = 8 * 1024 * 1024  # in all buffers between a client and a server that doesn't read


@pytest.fixture
async def table(upstream):
    async with open_table(upstream, "id int, word text") as name:
        yield name


@asynccontextmanager
async def begin(client: Client, upstream, table: str, *headers: str):
    """A load whose first rows the server has taken."""
    sender = await Sender.open(client, f"/v1/copy/{table}?columns=id,word", *headers)
    await sender.send_raw(b"5\r\n1,one\r\n1\r\n\n\r\n")
    async with observe(upstream) as observer:
        await find_backend(observer, f'copy "{table}"')
        yield sender
    sender.close()


async def assert_not_loaded(client: Client, upstream, table: str) -> None:
    await assert_nothing_left(client, upstream)
    assert await client.value(f"select count(*) from {table}") == 0


async def read_problem(sender: Sender) -> tuple[str, str]:
    """Status line and the rest of an answer."""
    head, _, body = (await sender.read()).partition(b"\r\n\r\n")
    return head.decode().splitlines()[0], body.decode()


async def test_a_client_that_goes_in_the_middle_has_loaded_nothing(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        async with begin(client, upstream, table) as sender:
            sender.close()
        await assert_not_loaded(client, upstream, table)
        counted = (await client.operations("/stats")).json["events"]
        assert counted["client_disconnected"]["count"] == 1


async def test_a_body_shorter_than_its_length_has_loaded_nothing(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        target = f"/v1/copy/{table}?columns=id,word"
        sender = await Sender.open(client, target, "Content-Length: 100")
        await sender.send_raw(b"1,one\n2,two\n")
        async with observe(upstream) as observer:
            await find_backend(observer, f'copy "{table}"')
        sender.close()
        await assert_not_loaded(client, upstream, table)


async def test_a_body_of_broken_chunks_has_loaded_nothing(upstream, table):
    """aiohttp's parser tells nobody, so it looks like a client that sends nothing more."""
    async with run_client(upstream, pool=POOL, limits={"stream_stall_s": 0.3}) as client:
        async with begin(client, upstream, table) as sender:
            await sender.send_raw(b"no size\r\n")
            status, _ = await read_problem(sender)
            assert " 408 " in status
        await assert_not_loaded(client, upstream, table)


async def test_a_client_that_goes_while_the_table_is_locked_has_loaded_nothing(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        async with observe(upstream) as observer, observer.transaction():
            await observer.execute(f"lock table {table}")
            async with begin(client, upstream, table) as sender:
                sender.close()
            await assert_nothing_left_but(client, observer)
        await assert_not_loaded(client, upstream, table)


async def assert_nothing_left_but(client: Client, observer) -> None:
    """The lock is still held, and the load that waited for it has gone."""

    async def is_gone() -> bool:
        waiting = "application_name = $1 and wait_event_type = 'Lock'"
        return not await observer.fetchval(
            f"select count(*) from pg_stat_activity where {waiting}", OUR_NAME
        )

    await poll(is_gone, "the load still waits for the lock")
    assert (await client.pool())["in_use"] == 0


async def test_a_killed_backend_has_loaded_nothing(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        async with begin(client, upstream, table) as sender, observe(upstream) as observer:
            pid = await find_backend(observer, f'copy "{table}"')
            await observer.execute("select pg_terminate_backend($1)", pid)
            status, problem = await read_problem(sender)
            assert " 503 " in status
            assert '"executed":"no","retryable":true' in problem
        await assert_not_loaded(client, upstream, table)


async def test_a_load_that_somebody_cancels_has_loaded_nothing(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        async with begin(client, upstream, table) as sender, observe(upstream) as observer:
            pid = await find_backend(observer, f'copy "{table}"')
            await observer.execute("select pg_cancel_backend($1)", pid)
            await sender.send(MUCH)  # the server looks at its cancels when data comes
            status, problem = await read_problem(sender)
            assert " 499 " in status
            assert '"executed":"no"' in problem
        await assert_not_loaded(client, upstream, table)


async def test_a_deadline_ends_a_load_that_does_not_come(upstream, table):
    async with run_client(upstream, pool=POOL, limits={"stream_timeout_s": 0.5}) as client:
        async with begin(client, upstream, table) as sender:
            status, problem = await read_problem(sender)
            assert " 504 " in status
            assert '"executed":"no"' in problem
        await assert_not_loaded(client, upstream, table)


async def test_a_deadline_ends_a_load_whose_table_is_locked(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        async with observe(upstream) as observer, observer.transaction():
            await observer.execute(f"lock table {table}")
            reply = await load(client, table, b"1,x\n", columns="id,word", timeout_ms=300)
            assert (reply.status, reply.json["executed"]) == (504, "no")
        await assert_not_loaded(client, upstream, table)


async def test_a_client_that_sends_nothing_is_told_so(upstream, table):
    async with run_client(upstream, pool=POOL, limits={"stream_stall_s": 0.3}) as client:
        async with begin(client, upstream, table) as sender:
            status, problem = await read_problem(sender)
            assert " 408 " in status
            assert "stream_stall_s" in problem
        await assert_not_loaded(client, upstream, table)


async def test_a_drain_ends_a_load_at_its_limit(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        async with begin(client, upstream, table) as sender:
            client.service.upstream.cancel_running(Draining)
            status, problem = await read_problem(sender)
            assert " 503 " in status
            assert '"draining"' in problem
            assert '"executed":"no"' in problem
        await assert_not_loaded(client, upstream, table)


async def test_a_constraint_that_fails_at_the_commit_has_loaded_nothing(upstream):
    columns = "id int, unique (id) deferrable initially deferred"
    async with run_client(upstream, pool=POOL) as client, open_table(upstream, columns) as table:
        reply = await load(client, table, b"id\n1\n1\n")
        problem = reply.json
        assert (problem["sqlstate"], problem["phase"], problem["executed"]) == (
            "23505",
            "commit",
            "no",
        )
        await assert_not_loaded(client, upstream, table)


async def test_a_server_that_does_not_read_stops_the_client(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        async with observe(upstream) as observer, observer.transaction():
            await observer.execute(f"lock table {table}")
            async with begin(client, upstream, table) as sender:
                await send_until_full(sender)
                assert sender.sent_bytes < HELD_BYTES
        await assert_not_loaded(client, upstream, table)


async def send_until_full(sender: Sender) -> None:
    """Send until nothing moves for a while."""
    while sender.sent_bytes < 10 * HELD_BYTES:
        try:
            async with asyncio.timeout(0.5):
                await sender.send(MUCH)
        except TimeoutError:
            return


async def test_a_refused_load_is_answered_before_its_body_has_come(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        async with begin(client, upstream, table) as sender:
            await sender.send(b"not a number,x\n")
            await sender.send(MUCH)
            status, problem = await read_problem(sender)
            assert " 400 " in status
            assert '"22P02"' in problem
        await assert_not_loaded(client, upstream, table)


async def test_a_client_that_asks_sends_no_body_for_a_refusal(upstream, table):
    async with run_client(upstream, pool=POOL) as client:
        expect = "Expect: 100-continue"
        sender = await Sender.open(client, f"/v1/copy/{table}?header=maybe", expect)
        assert (await sender.read()).startswith(b"HTTP/1.1 400 ")
        sender.close()
        sender = await Sender.open(client, f"/v1/copy/{table}?columns=id", expect)
        assert await sender.read() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await sender.send(b"1\n")
        await sender.end()
        assert (await sender.read()).startswith(b"HTTP/1.1 200 ")
        sender.close()


async def test_the_end_of_idle_backends_is_invisible(upstream, table):
    async with run_client(upstream, pool={"size": 1, "overflow": 0}) as client:
        assert (await load(client, table, b"id\n1\n")).status == 200
        async with observe(upstream) as observer:
            ours = "application_name = $1 and pid <> pg_backend_pid()"
            ending = f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where {ours}"
            await observer.execute(ending, OUR_NAME)
        assert (await load(client, table, b"id\n2\n")).status == 200


@pytest.mark.parametrize(
    ("body", "count"), [(b"1\n\\.\n3\n", 3), (b"1\r\n\\.\r\n", 2), (b"\\.\n2\n", 2), (b"1\n\\.", 2)]
)
async def test_a_line_that_an_old_server_takes_for_the_end_hides_nothing(upstream, body, count):
    async with (
        run_client(upstream, pool=POOL) as client,
        open_table(upstream, "word text") as table,
    ):
        reply = await load(client, table, body, columns="word")
        if await client.value("select current_setting('server_version_num')::int") >= 180000:
            assert reply.json["row_count"] == count
            return
        assert (reply.status, reply.json["executed"]) == (400, "no")
        assert "\\." in reply.json["detail"]
        await assert_not_loaded(client, upstream, table)


async def test_without_a_look_at_it_such_a_line_hides_what_follows(servers, monkeypatch):
    """The twin of the test above."""
    monkeypatch.setattr("proxy.query.copy_source.UNMARKED_SINCE", 0)
    upstream = servers.upstream("postgres-15")
    async with (
        run_client(upstream, pool=POOL) as client,
        open_table(upstream, "word text") as table,
    ):
        reply = await load(client, table, b"1\n\\.\n3\n", columns="word")
        assert reply.json["row_count"] == 1
