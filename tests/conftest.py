"""Servers for the whole session, and the event loop that the service uses."""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from proxy.dev.pgbouncer import LocalPgBouncer
from proxy.dev.postgres import EmbeddedPostgres
from tests.fixtures.servers import (
    BOUNCERS,
    Upstream,
    describe_pgbouncer,
    describe_postgres,
    run_pgbouncer,
    run_postgres,
)


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], object]]:
    """Run every async test on uvloop."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A folder where every user can walk; pytest's own tmp_path is private to us."""
    folder = Path(tempfile.mkdtemp(prefix="pgsidecar-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres(home: Path) -> Iterator[EmbeddedPostgres]:
    """Postgres 18 with the sample data."""
    with run_postgres(home) as server:
        yield server


@pytest.fixture(scope="session")
def pgbouncer_transaction(postgres: EmbeddedPostgres) -> Iterator[LocalPgBouncer]:
    """PgBouncer 1.24 in transaction mode with two server connections."""
    with run_pgbouncer(BOUNCERS["transaction"], postgres) as bouncer:
        yield bouncer


@pytest.fixture(scope="session", params=["postgres", *BOUNCERS])
def upstream(request: pytest.FixtureRequest, postgres: EmbeddedPostgres) -> Iterator[Upstream]:
    """Postgres itself, then every PgBouncer of the matrix in front of it."""
    if request.param == "postgres":
        yield describe_postgres(postgres)
        return
    kind = BOUNCERS[request.param]
    with run_pgbouncer(kind, postgres) as bouncer:
        yield describe_pgbouncer(bouncer, kind, postgres)
