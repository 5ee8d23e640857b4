"""upstream.logins: the statements of a client run as its own login, whatever their SQL is."""

import asyncio

import pytest

from proxy.app import drain
from proxy.errors import ProxyError
from tests.fixtures.logins import LOGINS, ROWS, ask, open_rows, run_logins, sign
from tests.fixtures.service import assert_nothing_left, find_backend, observe, poll

pytestmark = pytest.mark.matrix
WHO = "select session_user, current_user"
SLOW = "select pg_sleep(60), 'secret'"


@pytest.fixture(scope="module")
async def table(upstream):
    async with open_rows(upstream) as name:
        yield name


@pytest.fixture(scope="module")
async def client(upstream, table, tmp_path_factory):
    pool = {"size": 2, "overflow": 0, "login_size": 2}
    async with run_logins(upstream, tmp_path_factory.mktemp("tokens"), pool=pool) as running:
        yield running
        await assert_nothing_left(running, upstream)


@pytest.mark.parametrize(
    ("name", "login"), [("acme", "acme"), ("globex", "globex"), ("guest", "app")]
)
async def test_a_client_has_its_login_on_every_endpoint(client, name, login):
    headers = sign(name)
    assert (await ask(client, name, WHO)).json["rows"] == [[login, login]]
    statements = [{"sql": WHO, "rows": "arrays"}] * 2
    for mode in ("atomic", "separate", "parallel"):
        body = {"statements": statements, "mode": mode}
        results = (await client.post("/v1/batch", json=body, headers=headers)).json["results"]
        assert [each["rows"] for each in results] == [[[login, login]]] * 2
    body = {"sql": WHO, "rows": "arrays"}
    reply = await client.post("/v1/stream?format=json", json=body, headers=headers)
    assert reply.json["rows"] == [[login, login]]


@pytest.mark.blocks
async def test_a_client_has_its_login_in_a_transaction(client):
    for name in LOGINS:
        begun = await client.post("/v1/transactions", json={}, headers=sign(name))
        path = f"/v1/transactions/{begun.json['id']}"
        body = {"sql": WHO, "rows": "arrays"}
        reply = await client.post(f"{path}/query", json=body, headers=sign(name))
        assert reply.json["rows"] == [[name, name]]
        assert (await client.post(f"{path}/commit", headers=sign(name))).status == 200


@pytest.mark.blocks
async def test_a_transaction_belongs_to_its_login(client):
    begun = await client.post("/v1/transactions", json={}, headers=sign("acme"))
    path = f"/v1/transactions/{begun.json['id']}"
    for name in ("globex", "guest"):
        body = {"sql": WHO}
        assert (await client.post(f"{path}/query", json=body, headers=sign(name))).status == 404
        assert (await client.post(f"{path}/rollback", headers=sign(name))).status == 404
    assert (await client.post(f"{path}/rollback", headers=sign("acme"))).status == 200


async def test_a_bulk_load_is_its_logins(client, table):
    path = f"/v1/copy/{table}?columns=tenant"
    headers = sign("acme", **{"Content-Type": "text/csv"})
    reply = await client.post(path, data="globex\n", headers=headers)
    assert reply.json["sqlstate"] in {"42501", "0A000"}  # COPY FROM doesn't go with policies


@pytest.mark.parametrize(
    "escape",
    [
        "select tenant from {table}",
        "select tenant from {table} where set_config('role', 'none', true) is not null",
        "select tenant from {table} where set_config('app.tenant', 'globex', true) is not null",
        "with a as (select set_config('role', 'none', true)) select tenant from a, {table}",
    ],
)
async def test_no_sql_shows_the_rows_of_another_login(client, table, escape):
    sql = escape.format(table=table)
    for name in LOGINS:
        assert (await ask(client, name, sql)).json["rows"] == [[name]] * ROWS
    assert (await ask(client, "guest", sql)).json["rows"] == []


@pytest.mark.parametrize(
    "command",
    [
        "set session authorization globex",
        "set role globex",
        "do $$ begin perform set_config('session_authorization', 'globex', false); end $$",
        "do $$ begin perform set_config('role', 'globex', false); end $$",
    ],
)
async def test_a_login_can_not_become_another(client, table, command):
    assert (await ask(client, "acme", command)).status in {400, 403, 409}
    for _ in range(4):
        assert (await ask(client, "acme", WHO)).json["rows"] == [["acme", "acme"]]


async def test_logins_keep_apart_under_load(client, table):
    async def see(name: str) -> None:
        for number in range(20):
            if number % 5 == 4:
                await ask(client, name, f"select tenant, pg_sleep(1) from {table}", timeout_ms=20)
            if number % 5 == 3:
                await ask(client, name, f"select 1 / (id - id) from {table}")
            rows = (await ask(client, name, f"select tenant from {table}")).json["rows"]
            assert rows == [[name]] * ROWS

    await asyncio.gather(*(see(name) for name in LOGINS * 4))


async def test_the_pool_of_a_login_is_bounded_and_its_own(upstream, tmp_path):
    pool = {"login_size": 1, "checkout_timeout_s": 1}
    async with run_logins(upstream, tmp_path, pool=pool) as client:
        slow = asyncio.create_task(ask(client, "acme", SLOW))
        async with observe(upstream) as observer:
            backend = await find_backend(observer, "secret")
            reply = await ask(client, "acme", "select 1")
            assert (reply.status, reply.json["title"]) == (503, "pool_timeout")
            for name in ("globex", "guest"):
                assert (await ask(client, name, "select 1")).status == 200
            logins = (await client.operations("/stats")).json["logins"]
            pools = {name: each["pool"] for name, each in logins.items()}
            assert (pools["acme"]["limit"], pools["acme"]["in_use"]) == (1, 1)
            assert (pools["globex"]["limit"], pools["globex"]["in_use"]) == (1, 0)
            await observer.execute("select pg_cancel_backend($1)", backend)
        assert (await slow).json["sqlstate"] == "57014"


async def test_a_client_sees_and_cancels_its_own_statements_alone(client, upstream):
    running = asyncio.create_task(
        client.post(
            "/v1/query", json={"sql": SLOW}, headers=sign("acme", **{"X-Request-Id": "mine"})
        )
    )
    async with observe(upstream) as observer:
        await find_backend(observer, "secret")
    url = f"{client.service.url}/v1/queries/mine"
    for name in ("globex", "guest"):
        listed = await client.get("/v1/queries", headers=sign(name))
        assert listed.json["queries"] == []
        async with client.session.delete(url, headers=sign(name)) as response:
            assert response.status == 404
    listed = await client.get("/v1/queries", headers=sign("acme"))
    assert [each["id"] for each in listed.json["queries"]] == ["mine"]
    async with client.session.delete(url, headers=sign("acme")) as response:
        assert response.status == 202
    assert (await running).status == 499


@pytest.mark.blocks
async def test_the_drain_ends_what_a_login_has_open(upstream, tmp_path):
    async with run_logins(upstream, tmp_path, transactions={"idle_s": 60}) as client:
        assert (await client.post("/v1/transactions", json={}, headers=sign("acme"))).status == 201
        slow = asyncio.create_task(ask(client, "acme", SLOW))
        async with observe(upstream) as observer:
            await find_backend(observer, "secret")
        await drain(client.service, 0.2, asyncio.Event())
        assert (await slow).json["title"] == "draining"
        await assert_nothing_left(client, upstream)


async def test_a_login_that_is_refused_stops_the_start_and_is_named(upstream, tmp_path):
    dsn = upstream.dsn.replace("//app@", "//nobody@")
    with pytest.raises(ProxyError, match=r"upstream\.logins, client acme: .*refuses our login"):
        async with run_logins(upstream, tmp_path, upstream={"logins": {"acme": dsn}}):
            pass


async def test_what_a_login_left_is_closed_in_the_end(upstream, tmp_path):
    async with run_logins(upstream, tmp_path) as client:
        assert (await ask(client, "acme", "select 1")).status == 200
    async with observe(upstream) as observer:
        sql = "select count(*) from pg_stat_activity where state <> 'idle' and usename = 'acme'"

        async def is_closed() -> bool:
            return await observer.fetchval(sql) == 0

        await poll(is_closed, "a connection is left")
