"""Tenants on the same two server connections: no row of another one, whatever happens between."""

import asyncio

import aiohttp
import pytest

from tests.fixtures.servers import Upstream
from tests.fixtures.service import Client, assert_nothing_left, run_client
from tests.fixtures.stream import stream
from tests.fixtures.tenants import ROLES, ROWS, TENANTS, open_tenants

pytestmark = [pytest.mark.matrix, pytest.mark.timeout(180)]
CLIENTS = 24
ROUNDS = 10
POOL = {"size": 2, "overflow": 0, "checkout_timeout_s": 60}
SESSION = {"allow_claims": True, "allowed_roles": ROLES}
CUT = {503, 504, 499}  # behind PgBouncer a cancel may cost the connection


async def test_no_tenant_ever_sees_a_row_of_another(upstream: Upstream):
    async with (
        open_tenants(upstream) as table,
        run_client(upstream, pool=POOL, session=SESSION) as client,
    ):
        clients = [_Tenant(client, table, number) for number in range(CLIENTS)]
        await asyncio.gather(*(each.ask_often() for each in clients))
        await assert_nothing_left(client, upstream)
        assert {kind for each in clients for kind in each.met} >= {400, 499, 504, "rows", "left"}
        for role in (None, *ROLES):
            assert await client.rows(f"select * from {table}", role=role) == []


class _Tenant:
    """A client with the claims of one tenant; `met` says what has happened to it."""

    def __init__(self, client: Client, table: str, number: int) -> None:
        self.client = client
        self.sql = f"select tenant from {table}"
        self.number = number
        self.tenant = TENANTS[number % len(TENANTS)]
        self.members = {
            "claims": {"tenant": self.tenant},
            "role": (None, *ROLES)[number % 3],
            "rows": "arrays",
        }
        self.met: set[int | str] = set()

    async def ask_often(self) -> None:
        kinds = (self.fail, self.cancel, self.time_out, self.go_away, self.stream)
        for number in range(ROUNDS):
            await self.read()
            await kinds[(number + self.number) % len(kinds)]()
            await self.read_nothing()

    async def read(self) -> None:
        rows = await self.client.rows(self.sql, **self.members)
        assert rows == [[self.tenant]] * ROWS
        self.met.add("rows")

    async def read_nothing(self) -> None:
        assert await self.client.rows(self.sql, role=self.members["role"]) == []

    async def stream(self) -> None:
        reply = await stream(self.client, self.sql, **self.members)
        assert [line["row"] for line in reply.lines[1:-1]] == [[self.tenant]] * ROWS

    async def fail(self) -> None:
        reply = await self.client.query(f"{self.sql} where 1 / (id - id) = 1", **self.members)
        self.note(reply, {400})

    async def time_out(self) -> None:
        sql = f"{self.sql}, pg_sleep(5)"
        self.note(
            await self.client.query(sql, timeout_ms=20 * (1 + self.number % 8), **self.members), CUT
        )

    async def cancel(self) -> None:
        request_id = f"{self.tenant}-{self.number}"
        body = {"sql": f"{self.sql}, pg_sleep(5)", **self.members}
        headers = {"X-Request-Id": request_id}
        running = asyncio.create_task(self.client.post("/v1/query", json=body, headers=headers))
        url = f"{self.client.service.url}/v1/queries/{request_id}"
        while not running.done():
            async with self.client.session.delete(url) as response:
                if response.status == 202:
                    break
            await asyncio.sleep(0)
        self.note(await running, CUT)

    async def go_away(self) -> None:
        try:
            async with asyncio.timeout(0.02):
                await self.client.query(f"{self.sql}, pg_sleep(5)", **self.members)
        except (TimeoutError, aiohttp.ClientError):
            self.met.add("left")

    def note(self, reply, expected) -> None:
        assert reply.status in expected, reply.json
        self.met.add(reply.status)
