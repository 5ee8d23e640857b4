"""What the doctor finds at real servers when the service starts."""

import logging
import time
from contextlib import asynccontextmanager

import asyncpg
import pytest
from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi

from proxy.engine import examination
from tests.fixtures.bouncer import command, run_own_bouncer
from tests.fixtures.doctor import BOUNCERS, examine
from tests.fixtures.service import observe, poll, run_client

SMALL = {"size": 4, "overflow": 0}
MEMBER = "doctor_member"  # the role in between


async def read_findings(client):
    """The findings of /stats, by code."""
    stats = (await client.operations("/stats")).json
    return {finding["code"]: finding for finding in stats["findings"]}


async def start_and_find(upstream, /, **sections):
    """What a service finds when it starts."""
    async with run_client(upstream, **sections) as client:
        return await read_findings(client)


@asynccontextmanager
async def make_member(upstream, *commands):
    """The login `app` is a member of a role, which it doesn't inherit from."""
    async with observe(upstream) as admin:
        await admin.execute(f"create role {MEMBER}; grant {MEMBER} to app with inherit false")
        try:
            for words in commands:
                await admin.execute(words.format(member=MEMBER))
            yield
        finally:
            await admin.execute(f"drop role {MEMBER}")


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


async def test_examining_waits_no_longer_than_a_connection_may_take(postgres, monkeypatch):
    monkeypatch.setattr(examination, "_QUESTION", b"select pg_catalog.pg_sleep(60)")
    found = await start_and_find(postgres.dsn, upstream={"connect_timeout_s": 0.5}, pool=SMALL)
    assert found.keys() == {"unexamined"}
