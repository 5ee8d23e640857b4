"""Two processes in front of the same servers: neither sees, or ends, anything of the other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson
import pytest

from tests.fixtures.load import open_table
from tests.fixtures.program import Program, run_program
from tests.fixtures.service import Client, observe
from tests.fixtures.storm import Storm, assert_all_lanes_serve, assert_storm_is_over

CLIENTS = 400
SIZE = 4
WEST_IDS = 1_000_000
FLAGS = {
    "pool.size": SIZE,
    "pool.overflow": 0,
    "pool.queue_size": 5000,
    "pool.checkout_timeout_s": 60,
    "limits.timeout_s": 60,
    "limits.held_share": 0.5,
    "log.access": False,
    "session.roles_are_no_boundary": True,
}
EAST = {
    "session.time_zone": "Europe/Vienna",
    "session.settings": {"app.side": "east"},
    "session.allow_claims": True,
}
WEST = {
    "session.time_zone": "America/Lima",
    "session.hooks": ["set app.side = 'west'"],
    "session.role": "storm_writer",
}
CLAIMS = {"side": "east"}
SEEN = """
    id int primary key,
    zone text default current_setting('TimeZone'),
    side text default current_setting('app.side', true),
    role text default current_user,
    claims text default nullif(current_setting('request.jwt.claims', true), '')
"""


@pytest.mark.matrix
@pytest.mark.timeout(300)
async def test_two_processes_in_two_storms_know_nothing_of_each_other(upstream):
    async with (
        open_seen(upstream) as table,
        serve(upstream, EAST) as east_client,
        serve(upstream, WEST) as west_client,
    ):
        east = Storm(east_client, table, "east", claims=CLAIMS)
        west = Storm(west_client, table, "west", first_id=WEST_IDS)
        await asyncio.gather(east.rage(CLIENTS), west.rage(CLIENTS))
        for storm in (east, west):
            await assert_storm_is_over(storm, upstream)
            await assert_all_lanes_serve(storm.client, SIZE)
        claims = orjson.dumps(CLAIMS).decode()
        assert await list_seen(upstream, table, f"id < {WEST_IDS}") == {
            ("Europe/Vienna", "east", "app", claims),
            ("Europe/Vienna", "east", "app", "{}"),  # a bulk load has none of anybody's
        }
        assert await list_seen(upstream, table, f"id >= {WEST_IDS}") == {
            ("America/Lima", "west", "storm_writer", None)
        }


@asynccontextmanager
async def open_seen(upstream) -> AsyncIterator[str]:
    """A table in which each row tells what its statement has found set."""
    async with open_table(upstream, SEEN) as table, observe(upstream) as admin:
        await admin.execute(
            f"create role storm_writer; grant storm_writer to app;"
            f"grant select, insert on {table} to storm_writer"
        )
        try:
            yield table
        finally:
            await admin.execute("drop owned by storm_writer; drop role storm_writer")


@asynccontextmanager
async def serve(upstream, settings) -> AsyncIterator[Client]:
    """A process of its own, which ends well, and without having logged an error."""
    options = {"upstream.dsn": upstream.dsn, **FLAGS, **settings}
    flags = [word for name, value in options.items() for word in (f"--{name}", write(value))]
    async with (
        run_program(*flags) as program,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        yield Client(program, session)
        await end_well(program)


def write(value) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


async def end_well(program: Program) -> None:
    program.process.terminate()
    assert await program.wait() == 0
    assert [record for record in program.records if record["level"] == "error"] == []


async def list_seen(upstream, table, where) -> set[tuple[str | None, ...]]:
    async with observe(upstream) as observer:
        rows = await observer.fetch(
            f"select distinct zone, side, role, claims from {table} where {where}"
        )
    return {tuple(row) for row in rows}
