"""PgBouncer 1.18 compares the client_encoding that a client asked for with the server's, as text.

asyncpg asks for 'utf-8', which no server ever reports: 1.18 would set it before each transaction.
"""

import pytest

from proxy.dev.pgbouncer import LocalPgBouncer
from proxy.engine import factory
from proxy.engine.connection import UpstreamConnection
from tests.fixtures.lane import MESSAGE_BYTES, value
from tests.fixtures.models import run_engine
from tests.fixtures.servers import find_binary
from tests.fixtures.service import build_settings
from tests.fixtures.tcp_proxy import TcpProxy


@pytest.fixture
async def behind(postgres):
    """What passes between PgBouncer 1.18 and Postgres."""
    async with TcpProxy("127.0.0.1", postgres.port) as behind:
        yield behind


@pytest.fixture
def bouncer(behind):
    with LocalPgBouncer(find_binary("1.18"), behind.port) as bouncer:
        yield bouncer


async def run_three(bouncer, behind):
    """Run three flights on one lane; returns the bursts that PgBouncer made of them."""
    async with run_engine(build_settings(bouncer.dsn)) as engine:
        connection = await UpstreamConnection.open(engine, MESSAGE_BYTES, lambda *_: None)
        began = behind.mark()
        for _ in range(3):
            assert await value(connection.lane, "select 'é'") == "é"
        flights = behind.flights(began)
        await connection.release()
    return flights


async def test_nothing_is_set_before_our_statements(bouncer, behind):
    assert await run_three(bouncer, behind) == ["PBDES"] * 3


async def test_the_drivers_own_spelling_is_set_before_each_of_them(bouncer, behind, monkeypatch):
    monkeypatch.setattr(factory, "startup_parameters", lambda _settings: {})
    assert await run_three(bouncer, behind) == ["Q", "PBDES"] * 3
