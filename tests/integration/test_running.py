"""GET /v1/queries, DELETE /v1/queries/{id}: what runs, and its end by request."""

import asyncio
from typing import Any

import pytest

from proxy.app import drain
from tests.fixtures.load import Sender, open_table
from tests.fixtures.servers import Upstream
from tests.fixtures.service import (
    Client,
    Reply,
    assert_nothing_left,
    find_backend,
    observe,
    poll,
    run_client,
)

pytestmark = pytest.mark.matrix
SLOW = "select pg_sleep(60), 'secret' as word"


@pytest.fixture(scope="module")
async def client(upstream):
    async with run_client(upstream, pool={"size": 2, "overflow": 0}) as running:
        yield running
        await assert_nothing_left(running, upstream)


async def start(client: Client, request_id: str, path: str = "/v1/query", **body: Any):
    """Send a request, and wait until it's listed."""
    body = body or {"sql": SLOW}
    headers = {"X-Request-Id": request_id}
    task = asyncio.create_task(client.post(path, json=body, headers=headers))

    async def is_listed() -> bool:
        assert not task.done(), task.result()
        return request_id in {each["id"] for each in await list_running(client)}

    await poll(is_listed, "it isn't listed")
    return task


async def list_running(client: Client) -> list[dict[str, Any]]:
    return (await client.get("/v1/queries")).json["queries"]


async def wait_until_run(upstream: Upstream, count: int = 1) -> None:
    """Wait until SLOW runs on the server: in PgBouncer's own queue no cancel is answered."""
    sql = "select count(*) from pg_stat_activity where state = 'active' and query like $1"
    async with observe(upstream) as observer:

        async def is_run() -> bool:
            return await observer.fetchval(sql, f"{SLOW}%") == count

        await poll(is_run, f"not {count} of them run")


async def cancel(client: Client, request_id: str) -> Reply:
    url = f"{client.service.url}/v1/queries/{request_id}"
    async with client.session.delete(url) as response:
        return Reply(response.status, response.headers, b"", await response.json(content_type=None))


async def test_what_runs_is_listed_without_its_sql(client, upstream):
    task = await start(client, "listed")
    async with observe(upstream) as observer:
        await find_backend(observer, "secret")
    (entry,) = await list_running(client)
    assert entry.pop("age_ms") > 0
    assert entry == {
        "id": "listed",
        "route": "/v1/query",
        "phase": "execute",
        "rows": None,
        "keyword": "select",
        "tag": None,
    }
    assert (await cancel(client, "listed")).status == 202
    await task
    assert await list_running(client) == []


async def test_a_tag_tells_what_a_request_is(client, upstream):
    task = await start(client, "tagged", sql=SLOW, tag="nightly")
    await wait_until_run(upstream)
    (entry,) = await list_running(client)
    assert entry["tag"] == "nightly"
    await cancel(client, "tagged")
    await task


async def test_the_beginning_of_the_sql_is_shown_where_a_setting_says_so(upstream):
    sql = f"{SLOW} /* {'é' * 200} */"
    async with run_client(upstream, sql={"show_running": True}) as client:
        task = await start(client, "shown", sql=sql)
        await wait_until_run(upstream)
        assert [each["sql"] for each in await list_running(client)] == [sql[:120]]
        await cancel(client, "shown")
        await task


async def test_a_running_statement_is_cancelled_on_the_server(client, upstream):
    task = await start(client, "mine")
    async with observe(upstream) as observer:
        await find_backend(observer, "secret")
        reply = await cancel(client, "mine")
        assert (reply.status, reply.json) == (202, {"id": "mine"})
        problem = (await task).json
        assert (problem["status"], problem["title"]) == (499, "query_canceled")
        assert (problem["executed"], problem["request_id"]) == ("no", "mine")
        await assert_nothing_left(client, upstream)
    assert await client.value("select 42") == 42


async def test_only_the_one_that_is_meant_ends(client, upstream):
    one, other = await start(client, "one"), await start(client, "other", sql="select pg_sleep(1)")
    await wait_until_run(upstream)
    await cancel(client, "one")
    assert (await one).status == 499
    assert (await other).status == 200


async def test_a_request_that_waits_for_a_connection_is_cancelled(upstream):
    async with run_client(upstream, pool={"size": 1, "overflow": 0}) as client:
        first, waiting = await start(client, "first"), await start(client, "waiting")
        phases = {each["id"]: each["phase"] for each in await list_running(client)}
        assert phases == {"first": "execute", "waiting": "queue"}
        await cancel(client, "waiting")
        problem = (await waiting).json
        assert (problem["status"], problem["phase"], problem["executed"]) == (499, "queue", "no")
        await wait_until_run(upstream)
        await cancel(client, "first")
        assert (await first).status == 499
        await assert_nothing_left(client, upstream)


async def test_a_stream_ends_as_its_format_says(client):
    slowly = "select n, repeat('x', 9000) as x, pg_sleep(0.01) from generate_series(1, 3000) n"

    async def count() -> int:
        return (await client.operations("/stats")).json["events"]["stream_started"]["count"]

    before = await count()
    task = await start(client, "rows", "/v1/stream?format=json", sql=slowly)

    async def has_begun() -> bool:
        return await count() > before

    await poll(has_begun, "no stream has begun")

    async def has_rows() -> bool:
        (entry,) = await list_running(client)
        return entry["phase"] == "stream" and entry["rows"] > 0

    await poll(has_rows, "nobody sees its rows")
    await cancel(client, "rows")
    error = (await task).json["error"]
    assert (error["title"], error["executed"], error["phase"]) == ("query_canceled", "no", "stream")


async def test_what_may_have_committed_on_its_way_is_unknown(client, upstream):
    task = await start(client, "do", sql="do $$ begin perform pg_sleep(60); end $$")
    async with observe(upstream) as observer:
        await find_backend(observer, "perform")
    await cancel(client, "do")
    assert (await task).json["executed"] == "unknown"


async def test_a_batch_is_cancelled_as_a_whole(client, upstream):
    statements = [{"sql": "select 1"}, {"sql": SLOW}]
    task = await start(client, "batch", "/v1/batch", statements=statements)
    async with observe(upstream) as observer:
        await find_backend(observer, "secret")
    await cancel(client, "batch")
    problem = (await task).json
    assert (problem["status"], problem["executed"]) == (499, "no")


@pytest.mark.parametrize("mode", ["separate", "parallel"])
async def test_the_rest_of_a_batch_does_not_begin_any_more(client, upstream, mode):
    """On two connections a parallel batch waits with its other statements."""
    statements = [{"sql": SLOW}] * 6
    task = await start(client, "batch", "/v1/batch", statements=statements, mode=mode)
    await wait_until_run(upstream, 1 if mode == "separate" else 2)
    await cancel(client, "batch")
    errors = [result["error"] for result in (await task).json["results"]]
    assert {(error["title"], error["executed"]) for error in errors} == {("query_canceled", "no")}
    assert await list_running(client) == []


async def test_a_bulk_load_is_cancelled_and_has_loaded_nothing(client, upstream):
    async with open_table(upstream, "id int") as table:
        sender = await Sender.open(client, f"/v1/copy/{table}?columns=id", "X-Request-Id: load")
        await sender.send(b"1\n")
        async with observe(upstream) as observer:
            await find_backend(observer, f'copy "{table}"')
        assert [each["route"] for each in await list_running(client)] == ["/v1/copy/{table}"]
        assert (await cancel(client, "load")).status == 202
        answer = await sender.read()
        sender.close()
        assert answer.startswith(b"HTTP/1.1 499 ")
        assert b'"executed":"no"' in answer
        await assert_nothing_left(client, upstream)
        assert await client.value(f"select count(*) from {table}") == 0


async def test_a_request_can_be_cancelled_while_the_service_drains(upstream):
    async with run_client(upstream) as client:
        task = await start(client, "last")
        await wait_until_run(upstream)
        draining = asyncio.create_task(drain(client.service, 60, asyncio.Event()))

        async def is_draining() -> bool:
            return (await client.query("select 1")).status == 503

        await poll(is_draining, "it doesn't drain")
        assert (await cancel(client, "last")).status == 202
        assert (await task).status == 499
        await draining


@pytest.mark.blocks
async def test_a_statement_in_a_transaction_fails_like_any_other(upstream):
    async with run_client(upstream, pool={"size": 2, "overflow": 0}) as client:
        begun = (await client.post("/v1/transactions", json={})).json
        path = f"/v1/transactions/{begun['id']}"
        task = await start(client, "inside", f"{path}/query", sql=SLOW)
        async with observe(upstream) as observer:
            await find_backend(observer, "secret")
        await cancel(client, "inside")
        assert (await task).status == 499
        assert (await client.get(path)).json["state"] == "failed"
        assert (await client.post(f"{path}/rollback")).status == 200
        await assert_nothing_left(client, upstream)


@pytest.mark.parametrize("request_id", ["unknown", "finished"])
async def test_what_does_not_run_can_not_be_cancelled(client, request_id):
    headers = {"X-Request-Id": "finished"}
    assert (await client.post("/v1/query", json={"sql": "select 1"}, headers=headers)).status == 200
    reply = await cancel(client, request_id)
    assert (reply.status, reply.json["title"]) == (404, "not_found")
