"""PgBouncer goes away and comes back: nothing but the statement under way can be lost."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from proxy.dev.pgbouncer import LocalPgBouncer
from tests.fixtures.bouncer import KINDS, start_busy
from tests.fixtures.process import is_alive
from tests.fixtures.servers import (
    BouncerKind,
    Servers,
    Upstream,
    describe_pgbouncer,
    find_kind,
    run_pgbouncer,
)
from tests.fixtures.service import (
    Client,
    assert_nothing_left,
    poll,
    run_client,
)

POOL = {"size": 3, "overflow": 0, "max_age_s": 1}


@pytest.fixture(params=KINDS)
def kind(request) -> BouncerKind:
    return find_kind(request.param)


@pytest.fixture
def bouncer(kind: BouncerKind, servers: Servers) -> Iterator[LocalPgBouncer]:
    """A PgBouncer that the test ends; it may be entered again."""
    with run_pgbouncer(kind, servers.postgres()) as running:
        yield running


@pytest.fixture
def bounced(bouncer: LocalPgBouncer, kind: BouncerKind, servers: Servers) -> Upstream:
    return describe_pgbouncer(bouncer, kind, servers.postgres())


def is_draining(bouncer: LocalPgBouncer, number: signal.Signals) -> bool:
    """Whether this signal lets statements finish, in this version."""
    gentle = {"1.18": {signal.SIGINT}, "1.24": {signal.SIGINT, signal.SIGTERM}}
    return number in gentle[bouncer.binary.parent.name]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
async def test_restart_costs_at_most_the_statement_under_way(bouncer, bounced, number):
    async with run_client(bounced, pool=POOL) as client:
        running = await start_busy(client, bounced)
        pid = bouncer.pid
        os.kill(pid, number)
        reply = await running
        if is_draining(bouncer, number):
            assert reply.status == 200, reply.json
        else:
            assert (reply.status, reply.json["executed"]) == (503, "unknown")
        await wait_for_end(pid)
        start_again(bouncer)
        assert await values(client) == [42] * 6
        await assert_nothing_left(client, bounced)


async def test_idle_service_lets_a_draining_pgbouncer_end(bouncer, bounced):
    """Its lanes and what lies in SQLAlchemy's pool reach their age, and nothing comes after."""
    async with run_client(bounced, pool=POOL) as client:
        assert await values(client) == [42] * 6
        os.kill(bouncer.pid, signal.SIGTERM)
        await wait_for_end(bouncer.pid)


async def test_while_pgbouncer_is_away_nothing_is_executed(bouncer, bounced):
    async with run_client(bounced, pool=POOL) as client:
        assert await values(client) == [42] * 6
        bouncer.__exit__(None, None, None)
        for reply in await asyncio.gather(*(client.query("select 1") for _ in range(6))):
            assert (reply.status, reply.json["executed"]) == (503, "no")
            assert reply.json["retryable"]
        assert (await client.operations("/ready")).status == 503
        bouncer.__enter__()
        assert (await client.operations("/ready")).status == 200
        assert await values(client) == [42] * 6
        await assert_nothing_left(client, bounced)


async def values(client: Client) -> list[int]:
    """Ask for more at once than there are connections."""
    return await asyncio.gather(*(client.value("select 42") for _ in range(6)))


async def wait_for_end(pid: int) -> None:
    async def has_ended() -> bool:
        return not is_alive(pid)

    await poll(has_ended, "PgBouncer waits for its clients")


def start_again(bouncer: LocalPgBouncer) -> None:
    bouncer.__exit__(None, None, None)
    bouncer.__enter__()
