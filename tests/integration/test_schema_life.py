"""How reading the schema waits, ends and leaves others alone, on every upstream."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from tests.fixtures.service import DEADLINE_S, find_backend, observe, poll, run_client

pytestmark = pytest.mark.matrix


async def test_statements_go_on_after_it_on_the_only_connection(upstream):
    async with run_client(upstream, pool={"size": 1, "overflow": 0}) as client:
        for _ in range(2):
            assert await client.value("select 1") == 1
            assert (await client.get("/v1/schema?schema=public")).status == 200


async def test_requests_at_the_same_time_are_all_answered(client):
    replies = await asyncio.gather(*(client.get("/v1/schema?schema=public") for _ in range(10)))
    assert {reply.status for reply in replies} == {200}


async def test_more_requests_than_may_wait_are_refused(client):
    replies = await asyncio.gather(*(client.get("/v1/schema?schema=public") for _ in range(40)))
    assert {reply.json.get("title") for reply in replies} == {None, "queue_full"}


@asynccontextmanager
async def lock_comments(upstream):
    async with observe(upstream) as admin, admin.transaction():
        await admin.execute("lock table pg_catalog.pg_description in access exclusive mode")
        yield


@pytest.fixture
async def blocked(upstream):
    """Comments, which the schema shows, can't be read."""
    async with lock_comments(upstream):
        yield


async def test_it_ends_at_its_deadline(upstream, blocked):
    async with run_client(upstream, limits={"timeout_s": 0.5}) as client:
        async with asyncio.timeout(DEADLINE_S):
            reply = await client.get("/v1/schema?schema=public")
        assert (reply.status, reply.json["title"]) == (504, "deadline_exceeded")
        assert reply.json["executed"] == "no"
        assert await client.value("select 1") == 1


async def test_waiting_for_ones_turn_ends_at_the_deadline(upstream, blocked):
    async with run_client(upstream, limits={"timeout_s": 0.5}) as client:
        replies = await asyncio.gather(*(client.get("/v1/schema") for _ in range(10)))
        assert {reply.status for reply in replies} == {504}
        assert "queue" in {reply.json["phase"] for reply in replies}


async def test_what_the_server_refuses_has_its_sqlstate(client, upstream):
    async with observe(upstream) as admin:
        await admin.execute("revoke select on pg_catalog.pg_description from public")
        try:
            reply = await client.get("/v1/schema?schema=public")
        finally:
            await admin.execute("grant select on pg_catalog.pg_description to public")
    assert (reply.status, reply.json["sqlstate"], reply.json["executed"]) == (403, "42501", "no")
    assert reply.json["detail"] == "permission denied for table pg_description"


async def test_a_client_that_goes_away_interrupts_nothing(client, upstream):
    """The driver's cancel could hit a stranger's statement behind PgBouncer."""
    async with observe(upstream) as observer:
        async with lock_comments(upstream):
            request = asyncio.create_task(client.get("/v1/schema?schema=public"))
            backend = await find_backend(observer, "pg_catalog.col_description")
            before = await count_gone(client)
            request.cancel()

            async def is_noticed():
                return await count_gone(client) > before

            await poll(is_noticed, "the client's going isn't seen")
            state = "select state from pg_stat_activity where pid = $1"
            assert await observer.fetchval(state, backend) == "active"
        assert (await client.get("/v1/schema?schema=public")).status == 200


async def count_gone(client):
    events = (await client.operations("/stats")).json["events"]
    return events["client_disconnected"]["count"]
