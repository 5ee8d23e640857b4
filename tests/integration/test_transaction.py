"""Transactions that stay open across requests."""

import asyncio
from datetime import UTC, datetime

import pytest

from tests.fixtures.load import open_table
from tests.fixtures.service import (
    OUR_NAME,
    assert_nothing_left,
    can_reset_read_only,
    observe,
    poll,
    run_client,
)
from tests.fixtures.transaction import Transaction, begin
from tests.fixtures.wired import run_wired

pytestmark = [pytest.mark.matrix, pytest.mark.blocks]
NOW = "select pg_current_xact_id()::text"
SESSION = {"allowed_roles": ["clerk"]}


@pytest.fixture(scope="module")
async def client(upstream, notes):
    """Two transactions at most on four connections."""
    pool = {"size": 4, "overflow": 0}
    async with run_client(
        upstream, pool=pool, limits={"held_share": 0.5}, session=SESSION
    ) as running:
        yield running


@pytest.fixture(autouse=True)
async def _nothing_left(client, upstream):
    yield
    await assert_nothing_left(client, upstream)
    assert (await client.operations("/stats")).json["transactions"]["open"] == 0


@pytest.fixture
async def table(upstream):
    async with open_table(upstream, "id int primary key") as name:
        yield name


async def test_statements_of_one_transaction_see_each_other(client, table):
    transaction = await Transaction.begin(client)
    await transaction.query(f"insert into {table} values ($1)", 1)
    assert await transaction.value(f"select count(*) from {table}") == 1
    assert await client.value(f"select count(*) from {table}") == 0
    assert (await transaction.commit()).status == 200
    assert await client.value(f"select count(*) from {table}") == 1


async def test_all_of_them_run_in_one_transaction_of_the_server(client):
    transaction = await Transaction.begin(client)
    numbers = {await transaction.value(NOW) for _ in range(5)}
    await transaction.rollback()
    assert len(numbers) == 1


async def test_a_rollback_leaves_nothing(client, table):
    transaction = await Transaction.begin(client)
    await transaction.query(f"insert into {table} values (1)")
    reply = await transaction.rollback()
    assert (reply.status, reply.json) == (200, {"command": "ROLLBACK", "notices": []})
    assert await client.value(f"select count(*) from {table}") == 0


async def test_the_beginning_tells_where_and_how_long(client):
    transaction = await Transaction.begin(client, timeout_ms=30000, idle_timeout_ms=5000)
    begun = transaction.begun.json
    left_s = (datetime.fromisoformat(begun["expires_at"]) - datetime.now(UTC)).total_seconds()
    assert transaction.path == f"/v1/transactions/{begun['id']}"
    assert len(begun["id"]) == 43  # 256 bits in base64
    assert (begun["state"], begun["idle_timeout_ms"]) == ("idle", 5000)
    assert 20 < left_s < 31
    await transaction.rollback()


async def test_ids_differ(client):
    one, other = await Transaction.begin(client), await Transaction.begin(client)
    assert one.path != other.path
    await one.rollback()
    await other.rollback()


async def test_a_transaction_begins_in_one_flight_and_each_statement_is_one(upstream, notes):
    options = {"isolation": "serializable", "read_only": True, "role": "clerk"}
    session = {**SESSION, "settings": {"app.y": "1"}}  # which a shared pool gets in the flight
    async with run_wired(upstream, session=session) as wired:
        mark = wired.wire.mark()
        begun = await Transaction.begin(wired.client, settings={"app.x": "1"}, **options)
        await begun.query("select 1")
        await begun.commit()
        commit = "PBEPBES" if await can_reset_read_only(upstream) else "PBES"
        assert wired.wire.flights(mark) == ["PBEPBES", "PBDES", commit]
        await assert_nothing_left(wired.client, upstream)


async def test_without_options_it_is_begin_alone(upstream):
    async with run_wired(upstream) as wired:
        mark = wired.wire.mark()
        begun = await Transaction.begin(wired.client)
        await begun.rollback()
        assert wired.wire.flights(mark) == ["PBES", "PBES"]
        await assert_nothing_left(wired.client, upstream)


async def test_a_body_is_not_needed(client):
    reply = await client.post("/v1/transactions")
    assert reply.status == 201
    await Transaction(client, reply).rollback()


async def test_options_hold_for_every_statement_and_no_longer(client):
    transaction = await Transaction.begin(
        client,
        isolation="repeatable read",
        read_only=True,
        settings={"TimeZone": "Asia/Tokyo", "app.x": "1"},
        role="clerk",
    )
    sql = "select current_setting($1, true)"
    names = ("transaction_isolation", "transaction_read_only", "TimeZone", "app.x", "role")
    for _ in range(2):
        found = [await transaction.value(sql, name) for name in names]
        assert found == ["repeatable read", "on", "Asia/Tokyo", "1", "clerk"]
    await transaction.commit()
    after = [await client.value(sql, name) for name in names]
    assert after[:2] == ["read committed", "off"]
    assert after[3] in {None, ""}
    assert after[4] == "none"


async def test_the_configured_session_holds_in_it(upstream):
    session = {"settings": {"search_path": "pg_catalog", "app.x": "7"}}
    async with run_client(upstream, session=session) as client:
        transaction = await Transaction.begin(client)
        for name, value in session["settings"].items():
            assert await transaction.value("select current_setting($1)", name) == value
        await transaction.rollback()
        await assert_nothing_left(client, upstream)


@pytest.mark.parametrize(
    ("members", "status", "words"),
    [
        ({"settings": {"TimeZone": "Mars/Phobos"}}, 400, "settings: "),
        ({"settings": {"role": "clerk"}}, 403, "session.allowed_settings"),
        ({"role": "postgres"}, 403, "session.allowed_roles"),
        ({"isolation": "chaos"}, 400, "isolation must be"),
        ({"read_only": 1}, 400, "read_only must be true or false"),
        ({"timeout_ms": 60001}, 400, "ceiling of 60000 (transactions.timeout_s)"),
        ({"idle_timeout_ms": 10001}, 400, "ceiling of 10000 (transactions.idle_s)"),
        ({"idle_timeout": 1}, 400, "did you mean 'idle_timeout_ms'"),
        ({"sql": "select 1"}, 400, "unknown member 'sql'"),
    ],
)
async def test_a_wrong_beginning_begins_nothing(client, members, status, words):
    reply = await begin(client, **members)
    assert (reply.status, reply.json["executed"]) == (status, "no")
    assert words in reply.json["detail"]


async def test_a_beginning_that_is_no_json_is_refused(client):
    reply = await client.post("/v1/transactions", data=b"begin")
    assert reply.status == 415
    reply = await client.post("/v1/transactions?read_only=true")
    assert reply.status == 400


@pytest.mark.parametrize(
    ("ending", "executed"), [(Transaction.commit, "yes"), (Transaction.rollback, "no")]
)
async def test_what_has_ended_says_how(client, ending, executed):
    transaction = await Transaction.begin(client)
    await ending(transaction)
    for again in (transaction.state, transaction.commit, transaction.rollback):
        problem = (await again()).json
        assert (problem["status"], problem["title"]) == (410, "transaction_ended")
        assert problem["executed"] == executed
    problem = (await transaction.query("select 1")).json
    assert (problem["status"], problem["executed"]) == (410, "no")


async def test_an_unknown_id_is_404(client):
    reply = await client.get("/v1/transactions/nothing")
    assert (reply.status, reply.json["title"]) == (404, "not_found")
    body = {"sql": "select 1"}
    assert (await client.post("/v1/transactions/nothing/query", json=body)).status == 404


async def test_only_one_request_has_it_at_a_time(client):
    transaction = await Transaction.begin(client)
    running = asyncio.create_task(transaction.query("select pg_sleep(0.5), 1 as one"))

    async def is_busy():
        return (await transaction.state()).json["state"] == "busy"

    await poll(is_busy, "the statement doesn't run")
    for other in (transaction.query("select 1"), transaction.commit(), transaction.rollback()):
        problem = (await other).json
        assert (problem["status"], problem["title"]) == (409, "transaction_busy")
        assert problem["retryable"] is True
    assert (await running).json["rows"][0]["one"] == 1
    assert (await transaction.commit()).status == 200


async def test_more_than_their_share_are_refused_at_once(client):
    held = [await Transaction.begin(client), await Transaction.begin(client)]
    reply = await begin(client)
    assert (reply.status, reply.json["title"]) == (429, "too_many_transactions")
    assert (reply.json["retryable"], reply.headers["Retry-After"]) == (True, "1")
    gauges = (await client.operations("/stats")).json["transactions"]
    assert gauges == {"limit": 2, "open": 2, "max_open": 2}
    await held.pop().rollback()
    held.append(await Transaction.begin(client))
    for transaction in held:
        await transaction.rollback()


async def test_a_small_pool_has_room_for_one(upstream):
    async with run_client(upstream, pool={"size": 2, "overflow": 0}) as client:
        transaction = await Transaction.begin(client)
        assert (await begin(client)).status == 429
        assert (await client.operations("/ready")).status == 200
        await transaction.rollback()


async def test_events_are_counted(upstream):
    async with run_client(upstream) as client:
        for ending in (Transaction.commit, Transaction.rollback, Transaction.rollback):
            await ending(await Transaction.begin(client))
        events = (await client.operations("/stats")).json["events"]
        names = ("begun", "committed", "rolled_back", "expired")
        counts = [events[f"transaction_{name}"]["count"] for name in names]
        assert counts == [3, 1, 2, 0]


async def test_age_does_not_cut_it(upstream):
    async with run_client(upstream, pool={"size": 2, "overflow": 0, "max_age_s": 1}) as client:
        transaction = await Transaction.begin(client)
        number = await transaction.value(NOW)
        assert await transaction.value("select pg_sleep(1.2)") == ""
        assert await transaction.value(NOW) == number
        assert (await transaction.commit()).status == 200
        await assert_nothing_left(client, upstream)


async def test_transactions_and_others_share_two_connections_without_mixing(client, table):
    places = asyncio.Semaphore(2)

    async def work(number):
        async with places:
            await write(number)

    async def write(number):
        transaction = await Transaction.begin(client, settings={"app.x": str(number)})
        for part in range(3):
            await transaction.query(f"insert into {table} values ($1)", number * 10 + part)
            assert await transaction.value("select current_setting('app.x')") == str(number)
        await (transaction.commit() if number % 2 else transaction.rollback())

    async def read():
        assert await client.value("select current_setting('app.x', true)") in {None, ""}

    await asyncio.gather(*map(work, range(10)), *(read() for _ in range(50)))
    ids = [row["id"] for row in await client.rows(f"select id from {table} order by id")]
    assert ids == [n * 10 + part for n in range(1, 10, 2) for part in range(3)]


async def test_nobody_else_gets_its_connection(client, upstream):
    transaction = await Transaction.begin(client)
    pid = await transaction.value("select pg_backend_pid()")
    others = await asyncio.gather(*(client.value("select pg_backend_pid()") for _ in range(20)))
    assert pid not in others
    async with observe(upstream) as observer:
        sql = "select state from pg_stat_activity where pid = $1 and application_name = $2"
        assert await observer.fetchval(sql, pid, OUR_NAME) == "idle in transaction"
    await transaction.rollback()
