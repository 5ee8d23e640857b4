"""auth.clients: what each client may do, and how much of it."""

import asyncio

import pytest

from proxy.api.routes import OPERATIONS_ROUTES, QUERY_ROUTES
from proxy.api.scopes import SCOPES, WITHOUT_SCOPE
from proxy.settings_auth import SCOPES as ALL
from tests.fixtures.load import open_table
from tests.fixtures.logins import ask, run_known, sign
from tests.fixtures.service import assert_nothing_left, find_backend, observe, run_client

pytestmark = pytest.mark.matrix
CLIENTS = {
    "acme": {"scopes": ["query", "stream", "named:report"]},  # may not write
    "globex": {"rows": 2, "timeout_s": 0.5, "concurrency": 1},
}


@pytest.fixture(scope="module")
async def table(upstream):
    async with open_table(upstream, "id int") as name:
        yield name


@pytest.fixture(scope="module")
async def client(upstream, tmp_path_factory):
    saved = tmp_path_factory.mktemp("saved")
    for name in ("report", "other"):
        (saved / f"{name}.sql").write_text("-- read_only: true\nselect 1 as x")
    sections = {"auth": {"clients": CLIENTS}, "sql": {"named_dir": saved}}
    async with run_known(upstream, tmp_path_factory.mktemp("tokens"), **sections) as running:
        yield running
        await assert_nothing_left(running, upstream)


def test_every_endpoint_has_a_scope_or_needs_none():
    paths = {route.path for route in (*QUERY_ROUTES, *OPERATIONS_ROUTES)}
    assert paths == SCOPES.keys() | WITHOUT_SCOPE
    assert {scope.partition("{")[0] for scope in SCOPES.values()} <= {*ALL, "named:"}


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/copy/users", "copy"),
        ("GET", "/v1/listen?channel=a", "listen"),
        ("GET", "/v1/named/other", "named:other"),
        ("POST", "/v1/named/other", "named:other"),
    ],
)
async def test_an_endpoint_beyond_the_scopes_is_forbidden(client, method, path, scope):
    url = client.service.url + path
    async with client.session.request(method, url, headers=sign("acme")) as response:
        problem = await response.json(content_type=None)
    assert (response.status, problem["title"]) == (403, "forbidden")
    assert f"the scope {scope}, which auth.clients.acme.scopes doesn't give" in problem["detail"]


@pytest.mark.parametrize("way", [{}, {"X-Unusual": "1"}], ids=["express", "aiohttp"])
async def test_a_client_without_the_scope_query_sends_none(upstream, tmp_path, way):
    auth = {"clients": {"acme": {"scopes": ["stream"]}}}
    async with run_known(upstream, tmp_path, auth=auth) as client:
        headers = {**sign("acme"), **way}
        reply = await client.post("/v1/query", json={"sql": "select 1"}, headers=headers)
        assert reply.status == 403
        assert (await ask(client, "guest", "select 1")).status == 200


async def test_a_client_sees_the_saved_queries_that_it_may_run(client):
    listed = {
        name: [
            each["name"]
            for each in (await client.get("/v1/named", headers=sign(name))).json["queries"]
        ]
        for name in ("acme", "guest")
    }
    assert listed == {"acme": ["report"], "guest": ["other", "report"]}
    assert (await client.get("/v1/named/report", headers=sign("acme"))).status == 200


@pytest.mark.parametrize(
    "sql",
    [
        "insert into {table} values (1)",
        "with w as (insert into {table} values (1) returning id) select * from w",
        "create table made_by_acme (id int)",
        "do $$ begin execute 'insert into {table} values (1)'; end $$",
        "do $$ begin commit; insert into {table} values (1); commit; end $$",
        "vacuum {table}",
        "set local transaction_read_only = off",
        "select nextval('made_by_nobody')",
    ],
)
async def test_without_the_scope_write_nothing_is_written(client, table, sql):
    sql = sql.format(table=table)
    for body in ({}, {"read_only": False}):
        assert (await ask(client, "acme", sql, **body)).status >= 400 or "set local" in sql
    path = "/v1/batch"
    for mode in ("atomic", "separate", "parallel"):
        statements = [{"sql": sql}, {"sql": f"insert into {table} values (1)"}]
        body = {"statements": statements, "mode": mode}
        await client.post(path, json=body, headers=sign("acme"))
    await client.post("/v1/stream?format=json", json={"sql": sql}, headers=sign("acme"))
    assert (await ask(client, "guest", f"select count(*) from {table}")).json["rows"] == [[0]]


async def test_with_the_scope_write_the_same_is_written(client, table):
    assert (await ask(client, "guest", f"insert into {table} values (1)")).status == 200
    assert (await ask(client, "guest", f"delete from {table}")).json["row_count"] == 1


@pytest.mark.blocks
async def test_a_transaction_without_the_scope_write_only_reads(client, table):
    begun = await client.post("/v1/transactions", json={"read_only": False}, headers=sign("acme"))
    path = f"/v1/transactions/{begun.json['id']}"
    body = {"sql": f"insert into {table} values (1)"}
    reply = await client.post(f"{path}/query", json=body, headers=sign("acme"))
    assert reply.json["sqlstate"] == "25006"
    assert (await client.post(f"{path}/rollback", headers=sign("acme"))).status == 200


async def test_the_limits_of_a_client_are_its_own(client):
    sql = "select generate_series(1, 3)"
    assert (await ask(client, "globex", sql)).json["title"] == "result_too_large"
    assert (await ask(client, "globex", sql, limits={"rows": 3})).status == 413
    assert (await ask(client, "acme", sql)).status == 200
    assert (await ask(client, "globex", "select pg_sleep(5)")).status == 504
    reply = await ask(client, "globex", "select 1", timeout_ms=501)
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")


@pytest.mark.parametrize("way", [{}, {"X-Unusual": "1"}], ids=["express", "aiohttp"])
async def test_a_client_has_so_many_requests_in_hand(upstream, tmp_path, way):
    clients = {"acme": {"concurrency": 1}}
    async with run_known(upstream, tmp_path, auth={"clients": clients}) as client:
        headers = {**sign("acme"), **way}
        slow = {"sql": "select pg_sleep(60), 'quota'"}
        running = asyncio.create_task(
            client.post("/v1/query", json=slow, headers={**headers, "X-Request-Id": "slow"})
        )
        async with observe(upstream) as observer:
            await find_backend(observer, "quota")
        reply = await client.post("/v1/query", json={"sql": "select 1"}, headers=headers)
        assert (reply.status, reply.json["title"]) == (429, "too_many_requests")
        assert reply.headers["Retry-After"] == "1"
        assert (await ask(client, "guest", "select 1")).status == 200
        url = f"{client.service.url}/v1/queries/slow"
        async with client.session.delete(url, headers=headers) as response:
            assert response.status == 202  # ending them isn't counted
        assert (await running).status == 499
        reply = await client.post("/v1/query", json={"sql": "select 1"}, headers=headers)
        assert reply.status == 200


async def test_a_client_sends_so_many_requests_in_a_second(upstream, tmp_path):
    clients = {"acme": {"per_s": 0.001}}
    async with run_known(upstream, tmp_path, auth={"clients": clients}) as client:
        statuses = [(await ask(client, "acme", "select 1")).status for _ in range(3)]
        assert statuses == [200, 429, 429]
        assert (await ask(client, "guest", "select 1")).status == 200


@pytest.mark.blocks
async def test_a_client_has_so_many_transactions_and_nobody_elses(upstream, tmp_path):
    clients = {"acme": {"transactions": 1}, "globex": {"transactions": 0}}
    async with run_known(upstream, tmp_path, auth={"clients": clients}) as client:
        begun = await client.post("/v1/transactions", json={}, headers=sign("acme"))
        path = f"/v1/transactions/{begun.json['id']}"
        for name in ("acme", "globex"):
            reply = await client.post("/v1/transactions", json={}, headers=sign(name))
            assert (reply.status, reply.json["title"]) == (429, "too_many_transactions")
        for action in ("query", "batch", "stream", "commit", "rollback"):
            body = {"query": {"sql": "select 1"}, "stream": {"sql": "select 1"}}.get(action)
            body = {"statements": [{"sql": "select 1"}]} if action == "batch" else body or {}
            reply = await client.post(f"{path}/{action}", json=body, headers=sign("guest"))
            assert (reply.status, reply.json["title"]) == (404, "not_found"), action
        assert (await client.get(path, headers=sign("guest"))).status == 404
        assert (await client.get(path, headers=sign("acme"))).json["state"] == "idle"
        assert (await client.post(f"{path}/rollback", headers=sign("acme"))).status == 200
        again = await client.post("/v1/transactions", json={}, headers=sign("acme"))
        assert again.status == 201
        headers = sign("acme")
        reply = await client.post(f"{again.headers['Location']}/commit", headers=headers)
        assert reply.status == 200


async def test_a_client_has_so_many_streams(upstream, tmp_path):
    clients = {"acme": {"streams": 1}}
    async with run_known(upstream, tmp_path, auth={"clients": clients}) as client:
        url, body = f"{client.service.url}/v1/stream?format=json", {"sql": "select 1"}
        slow = {"sql": "select pg_sleep(60), 'stream'"}
        headers = sign("acme", **{"X-Request-Id": "slow"})
        running = asyncio.create_task(client.session.post(url, json=slow, headers=headers))
        async with observe(upstream) as observer:
            await find_backend(observer, "stream")
        reply = await client.post("/v1/stream?format=json", json=body, headers=sign("acme"))
        assert (reply.status, reply.json["title"]) == (429, "too_many_requests")
        assert (await ask(client, "acme", "select 1")).status == 200  # no stream
        cancel = f"{client.service.url}/v1/queries/slow"
        async with client.session.delete(cancel, headers=sign("acme")) as response:
            assert response.status == 202
        (await running).close()
        reply = await client.post("/v1/stream?format=json", json=body, headers=sign("acme"))
        assert reply.status == 200


async def test_statistics_need_their_scope(upstream, tmp_path):
    clients = {"acme": {"scopes": ["stats"]}}
    async with run_known(upstream, tmp_path, auth={"clients": clients}) as client:
        url = f"{client.service.operations_url}/stats"
        for name, status in (("acme", 200), ("guest", 403), (None, 401)):
            async with client.session.get(url, headers=sign(name)) as response:
                assert response.status == status
        assert (await client.operations("/ready")).status == 200


async def test_the_network_gets_the_probes_alone(upstream):
    async with run_client(upstream, ops={"host": "0.0.0.0"}) as client:
        port = client.service.operations_url.rpartition(":")[2]
        for path, status in (("ready", 200), ("live", 200), ("stats", 403)):
            async with client.session.get(f"http://127.0.0.1:{port}/{path}") as response:
                assert response.status == status


async def test_a_service_without_tokens_can_be_kept_from_writing(upstream, table):
    async with run_client(upstream, auth={"scopes": ["query"]}) as client:
        reply = await client.query(f"insert into {table} values (1)")
        assert reply.json["sqlstate"] == "25006"
        assert (await client.post("/v1/stream", json={"sql": "select 1"})).status == 403
