"""What describing a statement says, costs and leaves alone, on every upstream."""

import pytest

from tests.fixtures.service import observe
from tests.fixtures.wired import run_wired

pytestmark = pytest.mark.matrix

P = "PBE"  # the settings
D = "PDS"  # the statement, which is not bound, hence not run


@pytest.fixture(scope="module")
async def service(upstream, notes):
    async with run_wired(upstream, session={"allowed_roles": ["clerk"]}) as wired:
        yield wired


@pytest.fixture
def client(wired):
    return wired.client


async def describe(client, sql, **members):
    return await client.post("/v1/describe", json={"sql": sql, **members})


async def test_parameters_and_columns_have_their_types(client):
    reply = await describe(client, "select id, name from users where id = $1 and balance > $2")
    assert reply.status == 200
    assert reply.json["params"] == [{"type": "int4", "oid": 23}, {"type": "numeric", "oid": 1700}]
    columns = (await client.query("select id, name from users limit 0")).json["columns"]
    assert reply.json["columns"] == columns


async def test_named_parameters_keep_their_names(client):
    reply = await describe(client, "select :b::int8, :a::text, :b")
    assert reply.json["params"] == [
        {"name": "b", "type": "int8", "oid": 20},
        {"name": "a", "type": "text", "oid": 25},
    ]


async def test_types_of_the_database_are_looked_up(client):
    sql = "insert into every_type (id, a_mood, moods, an_address) values ($1, $2, $3, $4)"
    reply = await describe(client, sql + " returning a_mood, moods")
    assert [param["type"] for param in reply.json["params"]] == [
        "int4",
        "mood",
        "mood[]",
        "address",
    ]
    assert [column["type"] for column in reply.json["columns"]] == ["mood", "mood[]"]


async def test_types_of_the_request_hold(client):
    reply = await describe(client, "select $1 + $2", types=["int8"])
    assert [param["type"] for param in reply.json["params"]] == ["int8", "int8"]


async def test_a_statement_without_rows_has_no_columns(client):
    reply = await describe(client, "delete from notes where id = $1")
    assert reply.json == {"params": [{"type": "int4", "oid": 23}], "columns": []}


@pytest.mark.parametrize(
    "sql", ["delete from notes", "do $$ begin delete from notes; end $$", "drop table notes"]
)
async def test_nothing_is_executed(client, sql):
    assert (await describe(client, sql)).status == 200
    assert await client.value("select count(*) from notes") == 1


async def test_it_is_one_flight(wired):
    await describe(wired.client, "select 1")
    mark = wired.wire.mark()
    await describe(wired.client, "select 1")
    await describe(wired.client, "select 1", settings={"app.x": "1"}, role="clerk")
    assert wired.wire.flights(mark) == [D, P + D]


async def test_settings_travel_with_it(client):
    settings = {"search_path": "pg_catalog"}
    assert (await describe(client, "select * from notes", settings=settings)).status == 400
    assert (await describe(client, "select * from notes")).status == 200


async def test_a_role_travels_with_it(client, upstream):
    """Rights are looked at when a statement runs; here the role's own schema shows it."""
    path = {"search_path": '"$user"'}
    async with observe(upstream) as admin:
        await admin.execute("create schema clerk authorization clerk create table own (id int)")
        try:
            found = await describe(client, "select * from own", settings=path, role="clerk")
            missed = await describe(client, "select * from own", settings=path)
        finally:
            await admin.execute("drop schema clerk cascade")
    assert (found.status, missed.status) == (200, 400)


async def test_a_role_that_is_not_open_is_forbidden(client):
    reply = await describe(client, "select 1", role="root")
    assert (reply.status, reply.json["title"]) == (403, "forbidden")


async def test_an_error_has_its_position_in_the_statement_as_sent(client):
    sql = "select :id::int4, nme from users"
    reply = await describe(client, sql)
    assert (reply.status, reply.json["sqlstate"]) == (400, "42703")
    assert reply.json["position"] == sql.index("nme") + 1


async def test_a_type_that_nobody_knows_is_an_error_with_the_remedy(client):
    reply = await describe(client, "select $1 is null")
    assert (reply.status, reply.json["sqlstate"]) == (400, "42P18")
    assert "`types`" in reply.json["hint"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"sql": "select 1; select 2"}, "sql holds more than one statement"),
        ({"sql": "--"}, "sql holds no statement"),
        ({"sql": "select :a, $1"}, "use one kind"),
        ({"sql": "select :a", "types": ["int4"]}, "types are for $1"),
        ({"sql": "select $1", "types": ["itn4"]}, "did you mean 'int4'?"),
        ({"sql": "select 1", "params": []}, "unknown member 'params'"),
        ({}, "the member 'sql' is missing"),
    ],
)
async def test_a_wrong_request_is_named(client, body, sentence):
    reply = await client.post("/v1/describe", json=body)
    assert (reply.status, sentence in reply.json["detail"]) == (400, True), reply.json["detail"]


async def test_a_bare_statement_is_415(client):
    headers = {"Content-Type": "application/sql"}
    assert (await client.post("/v1/describe", data="select 1", headers=headers)).status == 415
