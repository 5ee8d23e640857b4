"""What the doctor finds at real servers, at the start of the service and as a command."""

import json
import logging
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi

from proxy.command.doctor import examine_all
from proxy.engine import examination
from proxy.engine.console import Console
from tests.fixtures.bouncer import command, run_own_bouncer
from tests.fixtures.service import build_settings, observe, poll, run_client

SMALL = {"size": 4, "overflow": 0}
MEMBER = "doctor_member"  # the role in between
BOUNCERS = ("transaction", "1.18-transaction", "session", "1.18-session")


async def read_findings(client):
    """The findings of /stats, by code."""
    stats = (await client.operations("/stats")).json
    return {finding["code"]: finding for finding in stats["findings"]}


async def start_and_find(upstream, /, **sections):
    """What a service finds when it starts."""
    async with run_client(upstream, **sections) as client:
        return await read_findings(client)


async def examine(upstream, /, replicas=1, **sections):
    """What the command finds: the codes with their evidence, and the report."""
    report = await examine_all(build_settings(upstream, **sections), replicas)
    return {finding.code: finding.evidence for _, finding in report.found}, report


def run_command(*arguments):
    """Run `pgsidecar doctor`; returns exit code, stdout, stderr."""
    words = [sys.executable, "-m", "proxy", "doctor", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


@asynccontextmanager
async def make_member(upstream, *commands):
    """The login `app` is a member of a role, which it doesn't inherit from."""
    async with observe(upstream) as admin:
        await admin.execute(f"create role {MEMBER}; grant {MEMBER} to app")
        await admin.execute("alter role app noinherit")
        try:
            for words in commands:
                await admin.execute(words.format(member=MEMBER))
            yield
        finally:
            await admin.execute(f"alter role app inherit; drop role {MEMBER}")


@pytest.mark.matrix
async def test_an_ordinary_login_has_no_more_than_what_nobody_tells(upstream):
    expected = set() if upstream.kind == "postgres" else {"pgbouncer_version_unknown"}
    if upstream.pool_mode == "session":
        expected.add("session_unproven")
    assert (await start_and_find(upstream, pool=SMALL)).keys() == expected


@pytest.mark.matrix
async def test_a_superuser_is_critical(upstream):
    dsn = upstream.dsn.replace("//app@", "//postgres@")
    found = await start_and_find(dsn, pool=SMALL)
    assert found["login_superuser"] == {
        "code": "login_superuser",
        "severity": "critical",
        "evidence": "The login is, or may become: postgres.",
        "remedy": found["login_superuser"]["remedy"],
    }


@pytest.mark.parametrize(
    ("words", "code", "evidence"),
    [
        ("alter role {member} superuser", "login_superuser", MEMBER),
        ("alter role {member} bypassrls", "login_bypasses_rls", MEMBER),
        ("grant pg_execute_server_program to {member}", "login_reaches_server", "pg_execute"),
        ("grant pg_read_server_files to {member}", "login_reaches_server", "pg_read"),
        ("grant pg_write_server_files to {member}", "login_reaches_server", "pg_write"),
    ],
)
async def test_what_the_login_may_become_counts(upstream, words, code, evidence):
    async with make_member(upstream, words):
        found = await start_and_find(upstream, pool=SMALL)
    assert evidence in found[code]["evidence"]


async def test_a_login_of_a_client_has_findings_of_its_own(upstream, tmp_path):
    (tmp_path / "reports").write_text("token-of-reports\n")
    sections = {
        "upstream": {"logins": {"reports": upstream.dsn.replace("//app@", "//postgres@")}},
        "pool": {**SMALL, "login_size": 1},
        "auth": {"tokens_dir": tmp_path, "clients": {"reports": {"scopes": ["stats"]}}},
    }
    headers = {"Authorization": "Bearer token-of-reports"}
    async with run_client(upstream, **sections) as client:
        address = f"{client.service.operations_url}/stats"
        async with client.session.get(address, headers=headers) as response:
            stats = await response.json()
    assert "login_superuser" not in {finding["code"] for finding in stats["findings"]}
    (finding,) = stats["logins"]["reports"]["findings"]
    assert finding["code"] == "login_superuser"
    _, report = await examine(upstream, **sections)
    assert ("reports", "login_superuser") in {(who, it.code) for who, it in report.found}


@pytest.mark.parametrize("name", BOUNCERS)
async def test_the_version_of_pgbouncer_is_known_by_its_console(servers, name):
    upstream = servers.upstream(name)
    console = {"console_dsn": upstream.console_dsn.replace("admin", "stats")}
    found = await start_and_find(upstream, upstream=console, pool=SMALL)
    evidence = found["pgbouncer_version"]["evidence"]
    assert evidence.startswith(f"PgBouncer {upstream.bouncer.version}.")
    assert ("CVE-2025-2291" in evidence) == (upstream.bouncer.version == "1.18")
    assert "pgbouncer_version_unknown" not in found


@pytest.mark.parametrize("name", BOUNCERS)
@pytest.mark.parametrize(
    ("option", "code", "limit"),
    [
        ("max_client_conn", "clients_over_limit", "max_client_conn is 11"),
        ("default_pool_size", "_pool_over_limit", "has 11 server connections"),
        ("max_db_connections", "_pool_over_limit", "has 11 server connections"),
    ],
)
async def test_small_limits_of_pgbouncer_are_found(servers, name, option, code, limit):
    mode = "session" if name.endswith("session") else "shared"
    code = f"{mode}{code}" if code.startswith("_") else code
    sections = {"pool": {"size": 3, "overflow": 1}, "limits": {"listeners": 0}}
    with run_own_bouncer(servers, name, **{"default_pool_size": "40", option: "11"}) as upstream:
        sections["upstream"] = {"console_dsn": upstream.console_dsn}
        fits, _ = await examine(upstream, replicas=2, **sections)
        found, _ = await examine(upstream, replicas=3, **sections)
    assert code not in fits
    assert found[code].startswith("12 connections of 3 replicas")
    assert limit in found[code]


async def test_replicas_that_postgres_has_no_room_for_are_found(postgres):
    sections = {"pool": {"size": 10, "overflow": 9}, "limits": {"listeners": 1}}
    assert (await examine(postgres.dsn, replicas=4, **sections))[0] == {}
    found, report = await examine(postgres.dsn, replicas=5, **sections)
    assert found.keys() == {"postgres_over_limit"}
    assert found["postgres_over_limit"].startswith("100 connections of 5 replicas")
    assert report.exit_code == 1


async def test_a_setting_that_is_dropped_at_login_and_looks_right_is_found(servers):
    with run_own_bouncer(servers, "transaction", ignore_startup_parameters="jit") as upstream:
        console = {"console_dsn": upstream.console_dsn}
        async with observe(upstream) as admin:
            jit = await admin.fetchval("show jit")
        found, _ = await examine(f"{upstream.dsn}?jit={jit}", upstream={**console})
        assert "jit" in found["login_setting_dropped"]
        other = "off" if jit == "on" else "on"
        refused, report = await examine(f"{upstream.dsn}?jit={other}", upstream={**console})
    assert "jit is set at login" in refused["start_refused"]
    assert report.exit_code == 2


async def test_a_hook_that_cannot_hold_is_found_and_the_rest_too(pgbouncer_transaction):
    hooks = ["do $$ begin end $$"]
    found, report = await examine(pgbouncer_transaction.dsn, session={"hooks": hooks})
    assert hooks[0] in found["start_refused"]
    assert "pgbouncer_version_unknown" in found
    assert report.exit_code == 2


async def test_a_hook_that_travels_with_each_statement_is_no_finding(pgbouncer_transaction):
    found, report = await examine(
        pgbouncer_transaction.dsn, session={"hooks": ["set work_mem = '8MB'"]}
    )
    assert found.keys() == {"pgbouncer_version_unknown"}
    assert report.exit_code == 0


@pytest.mark.parametrize("ahead_s", [-9, 9])
async def test_a_clock_that_differs_is_found(upstream, monkeypatch, ahead_s):
    monkeypatch.setattr(examination, "time", lambda: time.time() - ahead_s)
    found = await start_and_find(upstream, pool=SMALL)
    side = "ahead of" if ahead_s > 0 else "behind"
    assert side in found["clock_skew"]["evidence"]


def cache_in_the_driver(monkeypatch):
    connect = asyncpg.connect

    def connect_caching(dsn, **options):
        return connect(dsn, **{**options, "statement_cache_size": 100})

    monkeypatch.setattr(asyncpg, "connect", connect_caching)


def cache_in_the_dialect(monkeypatch):
    connect = AsyncAdapt_asyncpg_dbapi.connect

    def connect_caching(dbapi, **options):
        return connect(dbapi, **{**options, "prepared_statement_cache_size": 100})

    monkeypatch.setattr(AsyncAdapt_asyncpg_dbapi, "connect", connect_caching)


@pytest.mark.parametrize("switch_on", [cache_in_the_driver, cache_in_the_dialect])
async def test_a_cache_that_is_on_is_found(postgres, monkeypatch, switch_on):
    switch_on(monkeypatch)
    found = await start_and_find(postgres.dsn, pool=SMALL)
    assert found["driver_unsafe"]["severity"] == "critical"


async def test_a_login_that_may_not_look_is_served_all_the_same(postgres):
    admin = await asyncpg.connect(postgres.superuser_dsn)
    await admin.execute("create database doctor_blind")
    blind = await asyncpg.connect(postgres.superuser_dsn, database="doctor_blind")
    try:
        await blind.execute("revoke select on pg_roles from public")
        dsn = postgres.dsn.removesuffix("/app") + "/doctor_blind"
        async with run_client(dsn, pool=SMALL) as client:
            assert await client.value("select 1") == 1
            found = await read_findings(client)
        assert found.keys() == {"unexamined"}
        assert "permission denied" in found["unexamined"]["evidence"]
    finally:
        await blind.close()
        await admin.execute("drop database doctor_blind with (force)")
        await admin.close()


async def test_findings_are_looked_for_again_and_the_old_ones_not_logged_again(servers, caplog):
    caplog.set_level(logging.WARNING, "pgsidecar.upstream")
    with run_own_bouncer(servers, "transaction", default_pool_size="20") as upstream:
        dsn = upstream.dsn.replace("//app@", "//postgres@")
        console = {"console_dsn": upstream.console_dsn, "recheck_s": 0.1}
        async with run_client(dsn, upstream=console) as client:
            assert "shared_pool_over_limit" in await read_findings(client)
            await command(upstream, "SET pool_mode = 'session'")

            async def is_seen() -> bool:
                return "session_pool_over_limit" in await read_findings(client)

            await poll(is_seen, "the findings are the old ones")
    said = [it.fields["code"] for it in caplog.records if it.msg == "finding"]
    assert said == ["login_superuser", "pgbouncer_version", "session_pool_over_limit"]


async def test_the_command_leaves_no_connection_behind(upstream):
    name = f"doctor-{uuid4().hex[:8]}"  # PgBouncer's servers keep it, so it's of this run alone
    await examine(upstream, upstream={"application_name": name})

    async def is_gone() -> bool:
        return name not in await list_names(upstream)

    await poll(is_gone, "a connection is left")


async def list_names(upstream):
    """What the clients of the upstream are called."""
    if upstream.console_dsn is not None:
        console = {"console_dsn": upstream.console_dsn}
        async with Console.open(build_settings(upstream, upstream=console), 5) as opened:
            return {row.get("application_name") for row in await opened.show("CLIENTS")}
    async with observe(upstream) as observer:
        rows = await observer.fetch("select application_name from pg_stat_activity")
    return {row[0] for row in rows}


def test_the_command_writes_a_paragraph_for_each_finding(postgres):
    code, out, err = run_command("--upstream.dsn", postgres.superuser_dsn, "--replicas", "9")
    upstream, first, second = out.strip().split("\n\n")
    assert (code, err) == (2, "")
    assert upstream.startswith("It is Postgres itself")
    assert first.splitlines()[:2] == [
        "critical: login_superuser",
        "  The login is, or may become: postgres.",
    ]
    assert second.startswith("warning: postgres_over_limit\n")


def test_the_command_says_that_nothing_is_wrong(postgres):
    code, out, err = run_command("--upstream.dsn", postgres.dsn)
    assert (code, err) == (0, "")
    assert out.endswith("\nNothing is wrong.\n")


def test_the_command_writes_json(pgbouncer_transaction):
    code, out, err = run_command("--json", "--upstream.dsn", pgbouncer_transaction.dsn)
    document = json.loads(out)
    assert (code, err) == (0, "")
    assert document.keys() == {"upstream", "problem", "findings"}
    (finding,) = document["findings"]
    assert finding.keys() == {"client", "code", "severity", "evidence", "remedy"}
    assert (finding["client"], finding["severity"]) == (None, "info")


def test_an_upstream_that_is_away_has_a_code_of_its_own():
    dsn = "postgresql://app:hunter2@127.0.0.1:1/app"
    network = ("--http.host", "0.0.0.0", "--auth.open_network", "true")
    code, out, err = run_command("--json", "--upstream.dsn", dsn, *network)
    document = json.loads(out)
    assert (code, err) == (3, "")
    assert "cannot connect" in document["problem"]
    assert [finding["code"] for finding in document["findings"]] == ["open_network"]
    assert "hunter2" not in out


async def test_a_refused_login_is_an_upstream_that_cannot_be_reached(postgres):
    _, report = await examine(postgres.dsn.replace("//app@", "//nobody_at_all@"))
    assert report.exit_code == 3
    assert "nobody_at_all" in report.problem


@pytest.mark.parametrize("replicas", ["0", "-1", "many", "1000000"])
def test_a_number_of_replicas_that_is_none_is_refused(replicas):
    code, _, err = run_command("--replicas", replicas)
    assert code == 2
    assert "1 to 100000" in err


def test_the_command_needs_an_upstream():
    code, out, err = run_command()
    assert (code, out) == (2, "")
    assert "upstream.dsn" in err


async def test_examining_waits_no_longer_than_a_connection_may_take(postgres, monkeypatch):
    monkeypatch.setattr(examination, "_QUESTION", b"select pg_catalog.pg_sleep(60)")
    found = await start_and_find(postgres.dsn, upstream={"connect_timeout_s": 0.5}, pool=SMALL)
    assert found.keys() == {"unexamined"}
