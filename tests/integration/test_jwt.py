"""JSON Web Tokens: whose statement it is, its role, and what row level security sees."""

import json

import pytest

from tests.fixtures.issuer import AUDIENCE, ISSUER, issue, write_keys
from tests.fixtures.load import open_table
from tests.fixtures.logins import run_known
from tests.fixtures.service import assert_nothing_left, observe, poll, run_client
from tests.fixtures.tenants import ROLES, ROWS, open_tenants

pytestmark = pytest.mark.matrix
READER, WRITER = ROLES
SHOW = "select current_user, current_setting('request.jwt.claims', true)"


@pytest.fixture(scope="module")
async def table(upstream):
    async with open_tenants(upstream) as name:
        yield name


def settings(folder, **auth):
    keys = {"jwt_keys_file": folder / "keys.json", "jwt_audience": AUDIENCE, "jwt_issuer": ISSUER}
    return {
        "auth": {**keys, "jwt_role_claim": "role", "reload_s": 0.05, **auth},
        "session": {"allow_claims": True, "allowed_roles": ROLES},
        "pool": {"size": 2, "overflow": 0},
    }


@pytest.fixture(scope="module")
async def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("keys")
    write_keys(path / "keys.json")
    return path


@pytest.fixture(scope="module")
async def client(upstream, folder, table):  # the table's roles are those of the tokens
    tokens = folder / "tokens"
    tokens.mkdir(exist_ok=True)
    async with run_known(upstream, tokens, **settings(folder)) as running:
        yield running
        await assert_nothing_left(running, upstream)


def sign(**claims):
    return {"Authorization": f"Bearer {issue(**claims)}"}


async def ask(client, sql, headers, **members):
    body = {"sql": sql, "rows": "arrays", **members}
    return await client.post("/v1/query", json=body, headers=headers)


@pytest.mark.parametrize("way", [{}, {"X-Unusual": "1"}], ids=["express", "aiohttp"])
async def test_role_and_claims_of_the_token_hold(client, table, way):
    headers = {**sign(role=READER, tenant="t3"), **way}
    ((user, claims),) = (await ask(client, SHOW, headers)).json["rows"]
    assert user == READER
    assert json.loads(claims)["tenant"] == "t3"
    rows = (await ask(client, f"select tenant from {table}", headers)).json["rows"]
    assert rows == [["t3"]] * ROWS


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"claims": {"tenant": "t1"}}, "leave claims out"),
        ({"claims": {}}, "leave claims out"),
        ({"role": WRITER}, "leave role out"),
    ],
)
async def test_a_request_can_not_say_otherwise(client, members, sentence):
    headers = sign(role=READER, tenant="t3")
    for path, body in (
        ("/v1/query", {"sql": SHOW, **members}),
        ("/v1/batch", {"statements": [{"sql": SHOW}], **members}),
        ("/v1/transactions", members),
    ):
        reply = await client.post(path, json=body, headers=headers)
        assert (reply.status, reply.json["title"]) == (403, "forbidden")
        assert sentence in reply.json["detail"]


async def test_they_hold_on_every_endpoint(client, table):
    headers = sign(role=READER, tenant="t5")
    sql = f"select distinct tenant from {table}"
    body = {"statements": [{"sql": sql, "rows": "arrays"}] * 2}
    for mode in ("atomic", "separate", "parallel"):
        reply = await client.post("/v1/batch", json={**body, "mode": mode}, headers=headers)
        assert [each["rows"] for each in reply.json["results"]] == [[["t5"]]] * 2
    body = {"sql": sql, "rows": "arrays"}
    reply = await client.post("/v1/stream?format=json", json=body, headers=headers)
    assert reply.json["rows"] == [["t5"]]


async def test_a_bulk_load_has_the_role_and_the_claims(client, upstream):
    default = "current_user || (current_setting('request.jwt.claims')::json->>'tenant')"
    async with open_table(upstream, f"id int, who text default {default}") as table:
        path, data = f"/v1/copy/{table}?columns=id", "1\n"
        headers = {**sign(role=WRITER, tenant="t5"), "Content-Type": "text/csv"}
        reply = await client.post(path, data=data, headers=headers)
        assert reply.json["sqlstate"] == "42501"
        async with observe(upstream) as admin:
            await admin.execute(f"grant insert, select on {table} to {WRITER}")
            assert (await client.post(path, data=data, headers=headers)).status == 200
            assert await admin.fetchval(f"select who from {table}") == f"{WRITER}t5"


@pytest.mark.blocks
async def test_they_hold_in_a_transaction(client, table):
    headers = sign(role=READER, tenant="t6")
    begun = await client.post("/v1/transactions", json={}, headers=headers)
    path = f"/v1/transactions/{begun.json['id']}"
    body = {"sql": f"select distinct tenant from {table}", "rows": "arrays"}
    reply = await client.post(f"{path}/query", json=body, headers=headers)
    assert reply.json["rows"] == [["t6"]]
    assert (await client.post(f"{path}/rollback", headers=headers)).status == 200


async def test_a_token_without_claims_for_the_policy_sees_nothing(client, table):
    rows = (await ask(client, f"select * from {table}", sign(role=READER))).json["rows"]
    assert rows == []


async def test_a_token_without_a_role_gives_none_to_choose(client):
    """Else leaving the claim out would widen what a client may do."""
    reply = await ask(client, SHOW, sign(), role=WRITER)
    assert (reply.status, reply.json["title"]) == (403, "forbidden")
    assert (await ask(client, SHOW, sign())).json["rows"][0][0] == "app"


async def test_a_role_that_is_not_allowed_is_forbidden(client):
    reply = await ask(client, SHOW, sign(role="postgres"))
    assert (reply.status, reply.json["title"]) == (403, "forbidden")


async def test_scopes_of_the_token_narrow_those_of_the_client(client, table):
    headers = sign(scope="query stats everything")
    assert (await ask(client, "select 1", headers)).status == 200
    assert (await ask(client, "create table x ()", headers)).json["sqlstate"] == "25006"
    reply = await client.post("/v1/stream", json={"sql": "select 1"}, headers=headers)
    assert (reply.status, "which the token doesn't give" in reply.json["detail"]) == (403, True)
    url = f"{client.service.operations_url}/stats"
    async with client.session.get(url, headers=headers) as response:
        assert response.status == 403  # a token gives no more than the configuration


async def test_both_kinds_of_tokens_are_taken(upstream, tmp_path):
    write_keys(tmp_path / "keys.json")
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tokens / "guest").write_text("token-of-guest-0123")
    async with run_client(upstream, **settings(tmp_path, tokens_dir=tokens)) as client:
        for headers in (sign(), {"Authorization": "Bearer token-of-guest-0123"}):
            assert (await ask(client, "select 1", headers)).status == 200
        for headers in (sign(exp=1), {}, {"Authorization": "Bearer token-of-nobody-0123"}):
            assert (await ask(client, "select 1", headers)).status == 401


async def test_keys_change_without_a_restart(upstream, tmp_path):
    keys = write_keys(tmp_path / "keys.json", "RS256")
    async with run_client(upstream, **settings(tmp_path)) as client:
        old = {"Authorization": f"Bearer {issue('RS256')}"}
        assert (await ask(client, "select 1", old)).status == 200
        assert (await ask(client, "select 1", sign())).status == 401
        write_keys(keys, "ES256")

        async def is_taken() -> bool:
            return (await ask(client, "select 1", sign())).status == 200

        await poll(is_taken, "the new key isn't taken")
        assert (await ask(client, "select 1", old)).status == 401
