"""read_only of several statements: none of them takes it back for those behind it."""

import pytest

from tests.fixtures.batch import batch
from tests.fixtures.load import open_table
from tests.fixtures.service import assert_nothing_left, observe
from tests.fixtures.transaction import Transaction

pytestmark = pytest.mark.matrix
ATTEMPTS = (
    "set local transaction_read_only = off",
    "SET LOCAL TRANSACTION_READ_ONLY TO false",
    "set local transaction_read_only to default",
    "set transaction read write",
    "select set_config('transaction_read_only', 'off', true)",
    "set local default_transaction_read_only = off",
    "with a as (select set_config('transaction_read_only', 'off', true)) select * from a",
    "select set_config('transaction_read_only', null, true)",
    "commit",
    "begin read write",
)


@pytest.fixture(scope="module")
async def table(upstream):
    async with open_table(upstream, "id int") as name:
        yield name


@pytest.mark.parametrize(
    "options", [{}, {"isolation": "serializable"}, {"settings": {"app.x": "1"}}]
)
@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_no_statement_of_a_batch_opens_it_for_writes(client, table, attempt, options):
    insert = f"insert into {table} values (1)"
    reply = await batch(client, attempt, insert, read_only=True, **options)
    assert reply.status in {400, 403, 409}
    assert await client.value(f"select count(*) from {table}") == 0


@pytest.mark.blocks
@pytest.mark.parametrize(
    "options", [{}, {"isolation": "serializable"}, {"settings": {"app.x": "1"}}]
)
@pytest.mark.parametrize("attempt", ATTEMPTS)
async def test_no_statement_of_a_transaction_opens_it_for_writes(
    client, upstream, table, attempt, options
):
    transaction = await Transaction.begin(client, read_only=True, **options)
    await transaction.query(attempt)
    inserted = await transaction.query(f"insert into {table} values (1)")
    committed = await transaction.commit()
    assert {inserted.status, committed.status} & {400, 403, 409}
    await assert_nothing_left(client, upstream)
    assert await client.value(f"select count(*) from {table}") == 0


@pytest.mark.parametrize("covers", [False, True])
async def test_a_function_that_writes_is_undone(client, upstream, table, covers):
    """In one statement: take read_only back, write, and say that it was never gone."""
    sets = "perform set_config('transaction_read_only', 'on', true);" if covers else ""
    async with observe(upstream) as admin:
        await admin.execute(
            f"create function writes_to_{table}() returns int language plpgsql as "
            f"$$ begin insert into {table} values (1); {sets} return 1; end $$"
        )
    sql = f"""
        select writes_to_{table}()
        from (select set_config('transaction_read_only', null, true) offset 0) taken_back
    """
    reply = await client.query(sql, read_only=True)
    assert (reply.status, reply.json["executed"]) in {(400, "no"), (403, "no")}, reply.json
    assert await client.value(f"select count(*) from {table}") == 0
    async with observe(upstream) as admin:
        await admin.execute(f"drop function writes_to_{table}()")


async def test_reading_is_proven_and_passes(client, table):
    reply = await batch(client, "select 1", f"select count(*) from {table}", read_only=True)
    assert reply.status == 200
    assert await client.value("select 1", read_only=True) == 1


async def test_the_same_batch_may_write_without_it(client, table):
    insert = f"insert into {table} values (1)"
    reply = await batch(client, ATTEMPTS[0], insert, f"delete from {table}")
    assert reply.status == 200, reply.json
