"""A batch that is run again: after a conflict with others, as a whole, and never otherwise."""

import asyncio
from uuid import uuid4

import pytest

from tests.fixtures.batch import batch
from tests.fixtures.load import open_table
from tests.fixtures.service import assert_nothing_left, find_backend, observe, run_client

pytestmark = pytest.mark.matrix


@pytest.fixture
async def client(upstream):
    async with run_client(upstream, pool={"size": 2, "overflow": 0}) as running:
        yield running
        await assert_nothing_left(running, upstream)


@pytest.fixture
async def table(upstream):
    async with open_table(upstream, "id int primary key, n int") as name:
        yield name


@pytest.fixture
async def conflict(upstream):
    """A statement that always fails as in a conflict."""
    name = f"conflict_{uuid4().hex[:12]}"
    body = "begin raise exception using errcode = '40001'; end"
    async with observe(upstream) as observer:
        await observer.execute(
            f"create function {name}() returns int language plpgsql as $f$ {body} $f$"
        )
        yield f"select {name}()"
        await observer.execute(f"drop function {name}")


async def count_retries(client):
    return (await client.operations("/stats")).json["events"]["batch_retried"]["count"]


async def start_conflict(client, upstream, table, **members):
    """A batch that has read a row which another one changes before it does."""
    await client.rows(f"insert into {table} values (1, 0), (2, 0)")
    statements = (
        f"update {table} set n = n + 1 where id = 2",
        "select pg_sleep(0.5), 'conflict'",
        f"update {table} set n = n + 1 where id = 1",
    )
    options = {"isolation": "repeatable read", **members}
    task = asyncio.create_task(batch(client, *statements, **options))
    async with observe(upstream) as observer:
        await find_backend(observer, "'conflict'")
    await client.rows(f"update {table} set n = n + 1 where id = 1")
    return task


async def test_a_batch_is_run_again_as_a_whole_after_a_serialization_failure(
    client, upstream, table
):
    reply = await (await start_conflict(client, upstream, table, retry=1))
    assert reply.status == 200, reply.json
    assert await client.rows(f"select n from {table} order by id") == [{"n": 2}, {"n": 1}]
    assert await count_retries(client) == 1


async def test_without_retry_a_serialization_failure_is_told(client, upstream, table):
    """The twin of the test above."""
    problem = (await (await start_conflict(client, upstream, table))).json
    assert (problem["sqlstate"], problem["statement_index"]) == ("40001", 2)
    assert (problem["executed"], problem["retryable"]) == ("no", True)
    assert await client.rows(f"select n from {table} order by id") == [{"n": 1}, {"n": 0}]


@pytest.mark.parametrize("retry", [0, 2])
async def test_it_is_run_no_more_often_than_asked_for(client, conflict, retry):
    reply = await batch(client, "select 1", conflict, retry=retry)
    assert (reply.status, reply.json["sqlstate"]) == (409, "40001")
    assert await count_retries(client) == retry


async def test_it_is_not_run_again_past_its_deadline(client, conflict):
    reply = await batch(client, conflict, "select 1", retry=3, timeout_ms=40)
    assert reply.json["sqlstate"] == "40001"
    assert await count_retries(client) < 3


async def test_other_errors_are_told_at_once(client, table):
    insert = f"insert into {table} values (1)"
    reply = await batch(client, insert, insert, retry=3)
    assert (reply.json["sqlstate"], reply.json["statement_index"]) == ("23505", 1)
    assert await count_retries(client) == 0


async def test_what_may_have_committed_on_its_way_is_not_run_again(client):
    conflict = "do $$ begin raise exception using errcode = '40001'; end $$"
    reply = await batch(client, conflict, retry=3)
    assert (reply.json["sqlstate"], reply.json["executed"]) == ("40001", "unknown")
    assert await count_retries(client) == 0
