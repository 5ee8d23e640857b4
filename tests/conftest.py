"""Servers for the whole session, and the event loop that the service uses."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from proxy.dev.pgbouncer import LocalPgBouncer
from proxy.dev.postgres import EmbeddedPostgres
from tests.fixtures.servers import MATRIX, UPSTREAMS, Servers, Upstream


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], object]]:
    """Run every async test on uvloop."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what uses an upstream on every upstream; what is marked `matrix`, on the old ones too."""
    if "upstream" not in metafunc.fixturenames:
        return
    is_matrix = metafunc.definition.get_closest_marker("matrix") is not None
    names = MATRIX if is_matrix else UPSTREAMS
    if metafunc.definition.get_closest_marker("blocks") is not None:
        names = tuple(name for name in names if not name.endswith("statement"))
    metafunc.parametrize("upstream", names, indirect=True, scope="session")


@pytest.fixture(scope="session", autouse=True)
async def _end_leftover_tasks() -> AsyncIterator[None]:
    """End what a failed test left running: uvloop's close() may wait for it without end."""
    yield
    for _ in range(50):  # asyncpg's tasks start others when they are cancelled
        leftover = asyncio.all_tasks() - {asyncio.current_task()}
        if not leftover:
            return
        for task in leftover:
            task.cancel()
        await asyncio.wait(leftover, timeout=0.1)


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A folder where every user can walk; pytest's own tmp_path is private to us."""
    folder = Path(tempfile.mkdtemp(prefix="pgsidecar-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def servers(home: Path) -> Iterator[Servers]:
    """Every server of the session."""
    running = Servers(home)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def postgres(servers: Servers) -> EmbeddedPostgres:
    """Postgres 18 with the sample data."""
    return servers.postgres()


@pytest.fixture(scope="session")
def pgbouncer_transaction(servers: Servers) -> LocalPgBouncer:
    """PgBouncer 1.24 in transaction mode with two server connections."""
    return servers.bouncer("transaction")


@pytest.fixture(scope="session")
def upstream(request: pytest.FixtureRequest, servers: Servers) -> Upstream:
    """One upstream after the other: Postgres itself, or a PgBouncer in front of it."""
    return servers.upstream(request.param)
