"""The command `doctor`: what only it examines, what it prints, and its exit codes."""

import json
import subprocess
import sys
from uuid import uuid4

import pytest

from proxy.engine.console import Console
from tests.fixtures.bouncer import run_own_bouncer
from tests.fixtures.doctor import BOUNCERS, examine
from tests.fixtures.service import build_settings, observe, poll


def run_command(*arguments):
    """Run `pgsidecar doctor`; returns exit code, stdout, stderr."""
    words = [sys.executable, "-m", "proxy", "doctor", *arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


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
