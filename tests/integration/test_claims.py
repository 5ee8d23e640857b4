"""Claims for row level security: whose rows a request sees, and where that ends."""

import pytest

from proxy.query import models
from tests.fixtures.service import run_client
from tests.fixtures.stream import stream
from tests.fixtures.tenants import ROLES, ROWS, open_tenants
from tests.fixtures.transaction import Transaction
from tests.fixtures.wired import run_wired

pytestmark = pytest.mark.matrix
READER, WRITER = ROLES
SESSION = {"allow_claims": True, "allowed_roles": ROLES, "allowed_settings": ["*"]}
SHOW = "select current_setting('request.jwt.claims', true)"


@pytest.fixture(scope="module")
async def table(upstream):
    async with open_tenants(upstream) as name:
        yield name


@pytest.fixture(scope="module")
async def service(upstream, table):
    async with run_wired(upstream, session=SESSION) as wired:
        yield wired


@pytest.fixture
def client(wired):
    return wired.client


def claim(tenant):
    return {"tenant": tenant}


async def see(client, table, **members):
    """The tenants of the rows that a request sees."""
    rows = await client.rows(f"select tenant from {table}", rows="arrays", **members)
    return [tenant for (tenant,) in rows]


@pytest.mark.parametrize("role", [None, *ROLES])
async def test_a_request_sees_the_rows_of_its_claims(client, table, role):
    for tenant in ("t1", "t2"):
        assert await see(client, table, claims=claim(tenant), role=role) == [tenant] * ROWS


async def test_a_stream_sees_the_rows_of_its_claims(client, table):
    sql = f"select tenant from {table}"
    reply = await stream(client, sql, claims=claim("t3"), role=READER, rows="arrays")
    assert [line["row"] for line in reply.lines[1:-1]] == [["t3"]] * ROWS


async def test_a_batch_sees_the_rows_of_its_claims(client, table):
    statement = {"sql": f"select distinct tenant from {table}", "rows": "arrays"}
    body = {"statements": [statement] * 2, "claims": claim("t4"), "role": READER}
    results = (await client.post("/v1/batch", json=body)).json["results"]
    assert [result["rows"] for result in results] == [[["t4"]]] * 2


@pytest.mark.blocks
async def test_a_transaction_sees_the_rows_of_its_claims(client, table):
    transaction = await Transaction.begin(client, claims=claim("t5"), role=READER)
    assert await transaction.value(f"select min(tenant) || max(tenant) from {table}") == "t5t5"
    refused = await transaction.query("select 1", claims=claim("t6"))
    assert refused.status == 400
    await transaction.rollback()


async def test_a_saved_query_sees_the_rows_of_its_claims(upstream, table, tmp_path):
    (tmp_path / "mine.sql").write_text(f"select distinct tenant from {table}")
    sections = {"session": SESSION, "sql": {"named_dir": tmp_path, "mode": "named"}}
    async with run_client(upstream, **sections) as client:
        body = {"claims": claim("t6"), "role": READER, "rows": "arrays"}
        assert (await client.post("/v1/named/mine", json=body)).json["rows"] == [["t6"]]


@pytest.mark.parametrize("role", [None, *ROLES])
async def test_a_request_without_claims_sees_none(client, table, role):
    """On a connection where claims were set before the setting is empty, which isn't JSON."""
    await see(client, table, claims=claim("t1"))
    assert await see(client, table, role=role) == []


async def test_what_a_statement_has_left_behind_is_not_seen(client, table):
    await leave_claims(client, "t1")
    assert await see(client, table) == []
    await leave_claims(client, "")


async def test_it_would_be_seen_if_requests_without_claims_said_nothing(client, table, monkeypatch):
    """The twin of the test above."""
    write_claims = models.write_claims

    def write_no_more_than_given(claims, limits):
        return None if claims is None else write_claims(claims, limits)

    monkeypatch.setattr(models, "write_claims", write_no_more_than_given)
    await leave_claims(client, "t1")
    assert "t1" in [tenant for _ in range(20) for tenant in await see(client, table)]
    await leave_claims(client, "")


async def leave_claims(client, tenant):
    """Set claims for the session, where the words don't show it; on every server connection."""
    text = f'{{"tenant": "{tenant}"}}'
    sql = f"do $$ begin perform set_config('request.jwt.claims', '{text}', false); end $$"
    for _ in range(10):
        assert (await client.query(sql)).status == 200


async def test_claims_and_role_travel_in_the_flight_of_the_statement(wired):
    reply, flights = await wired.fly(SHOW, claims=claim("t1"), role=READER)
    assert list(reply.json["rows"][0].values()) == ['{"tenant":"t1"}']
    assert flights == ["PBEPBDES"]


async def test_claims_keep_every_digit(client):
    text = b'{"a":1.10,"b":123456789012345678901234567890,"c":{"d":[null,"\\u00e9"]}}'
    body = b'{"sql":"%b","rows":"arrays","claims":%b}' % (SHOW.encode(), text)
    headers = {"Content-Type": "application/json"}
    reply = await client.post("/v1/query", data=body, headers=headers)
    assert reply.json["rows"] == [[text.decode()]]


async def test_text_in_claims_is_no_sql(client):
    claims = {"tenant": "'; drop table users; --\\", "$1": '"'}
    assert await client.value(f"{SHOW}::json->>'tenant'", claims=claims) == claims["tenant"]


@pytest.mark.parametrize("claims", [{"a": 1}, {}])
async def test_claims_are_forbidden_unless_a_setting_opens_them(upstream, claims):
    async with run_client(upstream) as client:
        reply = await client.query(SHOW, claims=claims)
        assert (reply.status, reply.json["title"]) == (403, "forbidden")
        assert "session.allow_claims" in reply.json["detail"]


@pytest.mark.parametrize("name", ["request.jwt.claims", "Request.JWT.Claims"])
async def test_settings_can_not_set_claims(client, name):
    reply = await client.query(SHOW, settings={name: '{"tenant":"t1"}'})
    assert (reply.status, reply.json["title"]) == (403, "forbidden")


@pytest.mark.parametrize("claims", ["t1", ["t1"], 1, True])
async def test_claims_are_an_object(client, claims):
    reply = await client.query(SHOW, claims=claims)
    assert (reply.status, reply.json["detail"]) == (400, "claims must be an object")


async def test_claims_are_bounded(client):
    most = models.MAX_CLAIMS_BYTES - len('{"a":""}')
    assert (await client.query(SHOW, claims={"a": "x" * most})).status == 200
    reply = await client.query(SHOW, claims={"a": "x" * (most + 1)})
    assert (reply.status, reply.json["title"]) == (413, "request_too_large")


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("do $$ begin null; end $$", "statement_not_allowed"),
        ("call anything()", "statement_not_allowed"),
        ("vacuum users", "needs_bare_flight"),
    ],
)
async def test_what_could_leave_the_claims_is_refused(client, sql, code):
    reply = await client.query(sql, claims=claim("t1"))
    assert reply.json["title"] == code


async def test_a_procedure_may_commit_where_there_are_no_claims(client):
    reply = await client.query("do $$ begin commit; end $$")
    assert reply.status == 200, reply.json


async def test_claims_keep_writes_apart(client, table):
    sql = f"update {table} set tenant = 'mine' where id < 100 returning id"
    reply = await client.query(sql, claims=claim("t1"), role=WRITER)
    assert reply.json["sqlstate"] == "42501"  # the policy checks the new row, too
    sql = f"delete from {table} returning tenant"
    rows = await client.rows(sql, claims=claim("t0"), role=WRITER, rows="arrays")
    assert rows == [["t0"]] * ROWS


async def test_raw_sql_rewrites_the_claims_of_its_own_statement(client, table):
    """Claims are no boundary for whoever writes the SQL; SECURITY.md says so."""
    escape = f"""
        with other as materialized (
            select set_config('request.jwt.claims', '{{"tenant":"t7"}}', true) as set)
        select tenant from other cross join lateral (
            select tenant from {table} where other.set is not null offset 0) as stolen
    """
    members = {"claims": claim("t1"), "role": READER, "rows": "arrays"}
    rows = await client.rows(escape, **members)
    assert ["t7"] in rows
    assert await see(client, table, claims=claim("t1"), role=READER) == ["t1"] * ROWS
