"""auth.tokens_dir: nobody in without a token."""

import asyncio

import pytest

from proxy.api.routes import QUERY_ROUTES
from tests.fixtures.logins import TOKENS, ask, run_known, run_logins, sign
from tests.fixtures.service import find_backend, observe, poll

WRONG = {"Authorization": "Bearer token-of-nobody-0123"}
WAYS = [{}, {"X-Unusual": "1"}]  # past the framework, and through it


@pytest.fixture(scope="module")
async def client(upstream, tmp_path_factory):
    async with run_known(upstream, tmp_path_factory.mktemp("tokens")) as running:
        yield running


async def count_flights(client) -> int:
    return (await client.operations("/stats")).json["events"]["lane_lent"]["count"]


@pytest.mark.parametrize("headers", [{}, WRONG], ids=["none", "wrong"])
@pytest.mark.parametrize("route", QUERY_ROUTES, ids=lambda route: f"{route.method} {route.path}")
async def test_every_endpoint_wants_a_token(client, route, headers):
    url = client.service.url + route.path.replace("{", "").replace("}", "")
    body = {"sql": "select 1"} if route.method == "POST" else None
    async with client.session.request(route.method, url, json=body, headers=headers) as response:
        problem = await response.json(content_type=None)
        assert (response.status, problem["title"]) == (401, "unauthorized")
        assert response.headers["WWW-Authenticate"] == "Bearer"
        assert (problem["executed"], problem["retryable"]) == ("no", False)
        assert "token" in problem["detail"]


@pytest.mark.parametrize("way", WAYS, ids=["express", "aiohttp"])
async def test_both_ways_of_a_query_know_the_token(client, way):
    body = {"sql": "select 1 as x"}
    for headers, status in ((sign("guest"), 200), (WRONG, 401), ({}, 401)):
        reply = await client.post("/v1/query", json=body, headers={**headers, **way})
        assert reply.status == status
        assert ("WWW-Authenticate" in reply.headers) is (status == 401)


async def test_an_unknown_path_tells_a_stranger_nothing(client):
    assert (await client.get("/v1/nothing")).status == 401
    assert (await client.get("/v1/nothing", headers=sign("guest"))).status == 404


async def test_two_tokens_in_one_request_are_none(client):
    headers = [("Authorization", f"Bearer {TOKENS['guest']}")] * 2
    assert (await client.get("/v1/queries", headers=headers)).status == 401


async def test_probes_need_no_token(client):
    for path in ("/live", "/ready", "/startup", "/stats"):
        assert (await client.operations(path)).status == 200


async def test_tokens_change_while_a_statement_runs(upstream, tmp_path):
    async with run_known(upstream, tmp_path, auth={"reload_s": 0.05}) as client:
        running = asyncio.create_task(ask(client, "guest", "select pg_sleep(1), 'old'"))
        async with observe(upstream) as observer:
            await find_backend(observer, "old")
        (tmp_path / "guest").write_text("another-token-0123\n")

        async def is_refused() -> bool:
            return (await ask(client, "guest", "select 1")).status == 401

        await poll(is_refused, "the old token is still taken")
        headers = {"Authorization": "Bearer another-token-0123"}
        reply = await client.post("/v1/query", json={"sql": "select 1"}, headers=headers)
        assert reply.status == 200
        assert (await running).status == 200
        events = (await client.operations("/stats")).json["events"]
        assert events["tokens_reloaded"]["count"] == 1
        assert events["token_refused"]["count"] >= 1


async def test_a_directory_that_is_lost_keeps_its_tokens(upstream, tmp_path):
    folder = tmp_path / "tokens"
    folder.mkdir()
    async with run_known(upstream, folder, auth={"reload_s": 0.05}) as client:
        folder.rename(tmp_path / "elsewhere")
        for _ in range(10):
            assert (await ask(client, "guest", "select pg_sleep(0.02)")).status == 200


async def test_clients_without_logins_share_one_and_are_still_kept_apart(upstream, tmp_path):
    async with run_logins(upstream, tmp_path, upstream={"logins": {}}) as client:
        slow = {"sql": "select pg_sleep(60), 'shared'"}
        headers = sign("acme", **{"X-Request-Id": "mine"})
        running = asyncio.create_task(client.post("/v1/query", json=slow, headers=headers))
        async with observe(upstream) as observer:
            await find_backend(observer, "shared")
        for name, ids in (("guest", []), ("acme", ["mine"])):
            listed = await client.get("/v1/queries", headers=sign(name))
            assert [each["id"] for each in listed.json["queries"]] == ids
        url = f"{client.service.url}/v1/queries/mine"
        async with client.session.delete(url, headers=sign("guest")) as response:
            assert response.status == 404
        async with client.session.delete(url, headers=sign("acme")) as response:
            assert response.status == 202
        assert (await running).status == 499
