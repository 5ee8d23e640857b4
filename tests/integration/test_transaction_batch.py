"""POST /v1/transactions/{id}/batch: several statements in one flight of an open transaction."""

import asyncio

import pytest

from tests.fixtures.load import open_table
from tests.fixtures.service import find_backend, observe
from tests.fixtures.transaction import Transaction, assert_no_transaction_left, wait_for_end
from tests.fixtures.wired import run_wired

pytestmark = [pytest.mark.matrix, pytest.mark.blocks]
SESSION = {"allowed_roles": ["clerk"], "allow_claims": True}


@pytest.fixture(scope="module")
async def service(upstream, notes):
    options = {"limits": {"batch_statements": 20}, "session": SESSION}
    async with run_wired(upstream, **options) as running:
        yield running


@pytest.fixture
async def client(service, upstream):
    yield service.client
    await assert_no_transaction_left(service.client, upstream)


@pytest.fixture
async def table(upstream):
    async with open_table(upstream, "id int primary key") as name:
        yield name


@pytest.fixture
async def transaction(client, table):
    """One that has written the row 0, and is rolled back in the end."""
    begun = await Transaction.begin(client)
    await begun.query(f"insert into {table} values (0)")
    yield begun
    await begun.rollback()


async def list_ids(upstream, table):
    async with observe(upstream) as observer:
        return [row["id"] for row in await observer.fetch(f"select id from {table} order by id")]


async def test_statements_travel_in_one_flight_and_take_effect_with_the_commit(
    service, transaction, upstream, table
):
    insert = {"sql": f"insert into {table} values ($1)", "param_sets": [[1], [2]]}
    mark = service.wire.mark()
    reply = await transaction.batch(insert, f"select count(*) as n from {table}")
    assert service.wire.flights(mark) == ["PBDEBEPBDES"]
    inserted, counted = reply.json["results"]
    assert (inserted["row_count"], inserted["row_counts"]) == (2, [1, 1])
    assert counted["rows"] == [{"n": 3}]
    assert await list_ids(upstream, table) == []
    assert (await transaction.commit()).status == 200
    assert await list_ids(upstream, table) == [0, 1, 2]


async def test_settings_role_and_claims_of_the_transaction_hold(client):
    transaction = await Transaction.begin(
        client, role="clerk", claims={"sub": "7"}, settings={"work_mem": "8MB"}
    )
    reply = await transaction.batch(
        "select current_user::text as role, current_setting('work_mem') as memory",
        "select current_setting('request.jwt.claims') as claims",
    )
    shown, claims = (each["rows"] for each in reply.json["results"])
    assert shown == [{"role": "clerk", "memory": "8MB"}]
    assert claims == [{"claims": '{"sub":"7"}'}]
    await transaction.rollback()


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_an_error_names_the_statement_and_fails_the_transaction(
    transaction, upstream, table, place
):
    statements = [f"insert into {table} values ({n})" for n in (1, 2)]
    statements.insert(place, "select 1 / 0")
    problem = (await transaction.batch(*statements)).json
    assert (problem["sqlstate"], problem["statement_index"]) == ("22012", place)
    assert (problem["executed"], problem["retryable"]) == ("no", False)
    assert (await transaction.state()).json["state"] == "failed"
    again = await transaction.batch("select 1")
    assert (again.json["sqlstate"], again.json["statement_index"]) == ("25P02", 0)
    assert (await transaction.commit()).json["title"] == "transaction_failed"
    assert await list_ids(upstream, table) == []


async def test_a_savepoint_brings_a_failed_one_back(transaction, upstream, table):
    insert = f"insert into {table} values"
    assert (await transaction.batch(f"{insert} (1)", "savepoint before")).status == 200
    assert (await transaction.batch(f"{insert} (2)", f"{insert} (1)")).status == 409
    reply = await transaction.batch("rollback to before", f"{insert} (3)")
    assert reply.status == 200
    await transaction.commit()
    assert await list_ids(upstream, table) == [0, 1, 3]


async def test_a_block_of_code_may_stand_among_others_but_not_commit(transaction):
    do = "do $$ begin perform 1; end $$"
    assert (await transaction.batch("select 1", do, "set local work_mem = '8MB'")).status == 200
    problem = (await transaction.batch("select 1", "do $$ begin commit; end $$")).json
    assert (problem["sqlstate"], problem["statement_index"]) == ("2D000", 1)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"mode": "separate"}, 'mode "separate" needs transactions of its own'),
        ({"mode": "parallel"}, 'mode "parallel" needs transactions of its own'),
        ({"retry": 1}, "retry can't run again what the transaction did before"),
        ({"isolation": "serializable"}, "isolation is given when the transaction begins"),
        ({"read_only": True}, "read_only is given when the transaction begins"),
        ({"role": "clerk"}, "role is given when the transaction begins"),
        ({"claims": {"sub": "7"}}, "claims is given when the transaction begins"),
        ({"settings": {"jit": "off"}}, "settings is given when the transaction begins"),
        ({"dry_run": True}, "dry_run needs a transaction of its own"),
        ({"statements": []}, "statements is empty"),
        ({"statements": [{"sql": "select 1"}] * 21}, "limits.batch_statements"),
    ],
)
async def test_what_can_not_hold_within_a_transaction_is_refused_with_the_remedy(
    transaction, members, words
):
    body = {"statements": [{"sql": "select 1"}], **members}
    reply = await transaction.client.post(f"{transaction.path}/batch", json=body)
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")
    assert words in reply.json["detail"]
    assert (await transaction.state()).json["state"] == "idle"


async def test_the_default_mode_may_be_named(transaction):
    assert (await transaction.batch("select 1", mode="atomic")).status == 200


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("commit", "statement_not_allowed"),
        ("begin", "statement_not_allowed"),
        ("set jit = off", "needs_session"),
        ("vacuum", "needs_bare_flight"),
        ("copy users to stdout", "statement_not_allowed"),
        ("select 1; select 2", "invalid_request"),
    ],
)
async def test_a_statement_that_can_not_run_there_is_refused_before_any_is_sent(
    service, transaction, statement, code
):
    mark = service.wire.mark()
    reply = await transaction.batch("select 1", statement)
    assert (reply.json["title"], reply.json["statement_index"]) == (code, 1)
    assert service.wire.flights(mark) == []
    assert (await transaction.state()).json["state"] == "idle"


async def test_a_limit_counts_over_all_results(transaction):
    series = "select generate_series(1, 2) as n"
    fits = await transaction.batch(series, series, limits={"rows": 4})
    assert fits.status == 200
    over = await transaction.batch(series, series, limits={"rows": 3})
    assert (over.status, over.json["title"]) == (413, "result_too_large")
    assert (await transaction.state()).json["state"] == "idle"


async def test_the_deadline_ends_it_in_the_middle_and_fails_the_transaction(transaction):
    reply = await transaction.batch("select 1", "select pg_sleep(60)", timeout_ms=100)
    assert (reply.status, reply.json["executed"]) == (504, "no")
    assert (await transaction.state()).json["state"] == "failed"


async def test_meanwhile_others_find_the_transaction_busy(transaction, upstream, table):
    nap = f"select pg_sleep(1), '{table}'"
    running = asyncio.create_task(transaction.batch("select 1", nap))
    async with observe(upstream) as observer:
        await find_backend(observer, f"1), '{table}")
    other = await transaction.batch("select 2")
    assert (other.status, other.json["title"]) == (409, "transaction_busy")
    assert (await running).status == 200


async def test_a_client_that_goes_away_ends_the_transaction(transaction, upstream, table):
    nap = f"select pg_sleep(60), '{table}'"
    running = asyncio.create_task(transaction.batch(f"insert into {table} values (1)", nap))
    async with observe(upstream) as observer:
        await find_backend(observer, f"60), '{table}")
    running.cancel()
    await asyncio.wait([running])
    ended = await wait_for_end(transaction)
    assert (ended["title"], ended["executed"]) == ("transaction_ended", "no")
    assert await list_ids(upstream, table) == []


async def test_afterwards_it_is_over_for_a_batch_too(transaction):
    await transaction.rollback()
    reply = await transaction.batch("select 1")
    assert (reply.status, reply.json["title"]) == (410, "transaction_ended")
