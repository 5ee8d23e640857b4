"""The Postgres that everybody asks, its data, and a PgBouncer in front of it."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.report import say
from benchmarks.roster import CACHE, POOL_SIZE, ROOT
from proxy.dev.pgbouncer import LocalPgBouncer
from proxy.dev.postgres import EmbeddedPostgres

PGBOUNCER = ROOT / ".cache" / "pgbouncer" / "1.24" / "pgbouncer"
_DATA = Path(__file__).with_name("data.sql")
_DRAFT = "bench_draft"
_SETTINGS = {
    "shared_buffers": "1GB",  # every table fits: nobody waits for the disk
    "max_connections": "300",
    "max_parallel_workers_per_gather": "0",  # a driver's cursor can't have them either
    "synchronize_seqscans": "off",  # `limit` without `order by` gives everybody the same rows
    "max_wal_size": "4GB",
    "autovacuum": "off",  # would begin whenever a table has been loaded
}


@dataclass(frozen=True, slots=True)
class Database:
    """One database of a server that runs."""

    bin_dir: Path
    port: int
    name: str
    user: str = "app"

    @property
    def dsn(self) -> str:
        """Directly to Postgres."""
        return self.address(self.port)

    def address(self, port: int) -> str:
        """The DSN by way of another port."""
        return f"postgresql://{self.user}@127.0.0.1:{port}/{self.name}"

    def run_sql(self, sql: str) -> str:
        """Run SQL by psql; returns what it prints, without decoration."""
        command: list[str | Path] = [self.bin_dir / "psql", "-X", "-qAt", "-v", "ON_ERROR_STOP=1"]
        done = subprocess.run(
            [*command, self.dsn], input=sql, capture_output=True, check=False, text=True
        )
        if done.returncode:
            raise RuntimeError(f"psql fails: {done.stderr}")
        return done.stdout.strip()


@contextmanager
def run_database() -> Iterator[Database]:
    """Start Postgres; the data are made anew whenever data.sql has changed."""
    name = f"bench_{hashlib.sha256(_DATA.read_bytes()).hexdigest()[:8]}"
    with EmbeddedPostgres(_find_data_dir(), options=_SETTINGS) as server:
        admin = Database(server.bin_dir, server.port, "postgres", "postgres")
        old = admin.run_sql("select datname from pg_database where datname ~ '^bench_'").split()
        if name not in old:
            _create(admin, name, old)
        yield Database(server.bin_dir, server.port, name)


@contextmanager
def run_bouncer(database: Database) -> Iterator[str]:
    """Start PgBouncer in transaction mode, its pool as large as the peers'; yields its DSN."""
    options = {"default_pool_size": str(POOL_SIZE), "max_client_conn": "500"}
    names = {database.name: f"dbname={database.name}"}
    with LocalPgBouncer(PGBOUNCER, database.port, "transaction", options, names) as bouncer:
        yield database.address(bouncer.port)


def _find_data_dir() -> Path:
    """Root's Postgres runs as another user, who may not get into our checkout."""
    return Path("/var/cache/pgsidecar/bench") if os.geteuid() == 0 else CACHE / "postgres"


def _create(admin: Database, name: str, old: list[str]) -> None:
    """Make the data under another name, so that they are complete if the database exists."""
    say("Making the data, which takes half a minute ...")
    for database in old:
        admin.run_sql(f"drop database {database}")
    admin.run_sql(f"create database {_DRAFT} owner app")
    Database(admin.bin_dir, admin.port, _DRAFT).run_sql(_DATA.read_text())
    admin.run_sql(f"alter database {_DRAFT} rename to {name}")
    admin.run_sql("checkpoint")
