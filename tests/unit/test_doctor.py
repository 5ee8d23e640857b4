"""What the doctor finds in facts and settings, and what it leaves alone."""

from dataclasses import replace

import pytest

from proxy.doctor.diagnosis import diagnose, diagnose_upstream
from proxy.doctor.facts import Facts, Unexamined
from proxy.doctor.finding import KINDS, Severity
from proxy.engine.examination import measure_skew
from proxy.settings import Settings

DSN = "postgresql://app@localhost/app"
CONSOLE = "postgresql://stats@localhost:6432/pgbouncer"
POSTGRES = Facts(
    kind="postgres",
    pool_mode=None,
    is_session_proven=True,
    superuser_roles=(),
    server_roles=(),
    bypass_roles=(),
    free_connections=97,
    is_local=True,
    is_encrypted=False,
    is_verified=False,
    is_hop_open=False,
    clock_skew_s=0.0,
    driver="asyncpg",
    is_caching=False,
    asked_at_login=frozenset({"sslmode"}),
    pgbouncer_version=None,
    config={},
    database={},
)
POOL = replace(
    POSTGRES,
    kind="pgbouncer",
    pool_mode="transaction",
    is_session_proven=False,
    pgbouncer_version="1.25.2",
    config={"max_client_conn": "100", "default_pool_size": "60", "max_db_connections": "0"},
    database={"pool_size": "60", "max_connections": "0", "max_client_connections": "0"},
)
SESSION = replace(POOL, pool_mode="session", is_session_proven=True)
SMALL = {"pool": {"size": 3, "overflow": 1}, "limits": {"listeners": 0}}


def build(**sections):
    return Settings(**{"upstream": {"dsn": DSN}, **sections})


def find(facts, *, is_client=False, replicas=1, **sections):
    """The codes that are found in an upstream, and their evidence."""
    found = diagnose_upstream(build(**sections), facts, is_client=is_client, replicas=replicas)
    return {finding.code: finding.evidence for finding in found}


def find_in_settings(**sections):
    return {finding.code for finding in diagnose(build(**sections), POSTGRES, is_client=False)}


@pytest.mark.parametrize("facts", [POSTGRES, POOL, SESSION], ids=["postgres", "pool", "session"])
def test_a_sound_upstream_has_no_finding(facts):
    assert find(facts) == {}


@pytest.mark.parametrize(
    ("facts", "code", "evidence"),
    [
        ({"superuser_roles": ("boss",)}, "login_superuser", "boss"),
        ({"server_roles": ("pg_read_server_files",)}, "login_reaches_server", "pg_read_server_f"),
        ({"bypass_roles": ("auditor",)}, "login_bypasses_rls", "auditor"),
        ({"driver": "psycopg2"}, "driver_unsafe", "psycopg2"),
        ({"is_caching": True}, "driver_unsafe", "cache"),
        ({"is_local": False}, "tls_off", "without TLS"),
        ({"is_local": False, "is_encrypted": True}, "tls_unverified", "Nobody checks"),
        ({"clock_skew_s": 2.1}, "clock_skew", "2.1 s ahead of ours"),
        ({"clock_skew_s": -75.0}, "clock_skew", "75.0 s behind ours"),
    ],
)
def test_a_fact_is_found(facts, code, evidence):
    found = find(replace(POSTGRES, **facts))
    assert found.keys() == {code}
    assert evidence in found[code]


@pytest.mark.parametrize(
    "facts",
    [
        {"is_local": False, "is_encrypted": True, "is_verified": True},
        {"clock_skew_s": 1.9},
        {"clock_skew_s": -1.9},
        {"is_hop_open": True},  # of PgBouncer, which there is none of
    ],
)
def test_a_fact_that_is_in_order_is_left_alone(facts):
    assert find(replace(POSTGRES, **facts)) == {}


def test_a_superuser_is_told_once():
    both = replace(POSTGRES, superuser_roles=("boss",), server_roles=("x",), bypass_roles=("boss",))
    assert find(both).keys() == {"login_superuser"}


def test_a_way_from_pgbouncer_without_tls_is_found():
    assert find(replace(POOL, is_hop_open=True)).keys() == {"pgbouncer_tls_off"}


@pytest.mark.parametrize(
    ("version", "holes"),
    [
        ("1.18.0", ["CVE-2025-2291", "CVE-2025-12819", "CVE-2026-6664", "CVE-2026-6667"]),
        ("1.24.1", ["CVE-2025-12819", "CVE-2026-6664"]),
        ("1.25.1", ["CVE-2026-6664"]),
    ],
)
def test_known_holes_of_a_version_are_named(version, holes):
    found = find(replace(POOL, pgbouncer_version=version))
    assert found.keys() == {"pgbouncer_version"}
    assert all(hole in found["pgbouncer_version"] for hole in holes)


def test_holes_that_a_version_has_mended_are_not_named():
    found = find(replace(POOL, pgbouncer_version="1.25.1"))
    assert "CVE-2025" not in found["pgbouncer_version"]


@pytest.mark.parametrize("version", ["1.25.2", "1.26.0", "1.100.0", "2.0"])
def test_a_newer_version_has_no_finding(version):
    assert find(replace(POOL, pgbouncer_version=version)) == {}


@pytest.mark.parametrize(
    ("asked", "evidence"),
    [({}, "No upstream.console_dsn"), ({"console_dsn": CONSOLE}, "Its console doesn't tell")],
)
def test_an_unknown_version_says_why(asked, evidence):
    facts = replace(POOL, pgbouncer_version=None, config={}, database={})
    found = find(facts, upstream={"dsn": DSN, **asked})
    assert found.keys() == {"pgbouncer_version_unknown"}
    assert evidence in found["pgbouncer_version_unknown"]


def test_a_session_that_only_the_probe_has_seen_is_found():
    assert find(replace(SESSION, is_session_proven=False)).keys() == {"session_unproven"}


@pytest.mark.parametrize(
    ("ignored", "codes"),
    [
        ("", set()),
        ("extra_float_digits", set()),
        ("extra_float_digits, options", {"ignored_startup_parameters"}),
        ("Search_Path", {"login_setting_dropped"}),
        ("options,search_path", {"login_setting_dropped", "ignored_startup_parameters"}),
    ],
)
def test_what_pgbouncer_drops_at_login_is_found(ignored, codes):
    config = {**POOL.config, "ignore_startup_parameters": ignored}
    facts = replace(POOL, config=config, asked_at_login=frozenset({"search_path", "sslmode"}))
    assert find(facts).keys() == codes


@pytest.mark.parametrize(
    ("facts", "sections", "replicas", "found"),
    [
        # 20 + 10 and 20 listeners of each
        (POSTGRES, {}, 2, {"postgres_over_limit": "100 connections of 2 replicas"}),
        (POSTGRES, SMALL, 24, {}),
        (POSTGRES, SMALL, 25, {"postgres_over_limit": "100 connections of 25 replicas"}),
        # at PgBouncer nobody can listen unless the session is proven
        (POOL, {}, 2, {}),
        (POOL, {}, 3, {"shared_pool_over_limit": "90 connections"}),
        (POOL, {}, 4, {"clients_over_limit": "120 conn", "shared_pool_over_limit": "120 conn"}),
        (SESSION, {}, 1, {}),
        (SESSION, {}, 2, {"session_pool_over_limit": "100 connections"}),
        (
            replace(POOL, free_connections=59),
            {},
            1,
            {"postgres_over_limit": "60 of them by PgBouncer"},
        ),
        (replace(POOL, config={}, database={}), {}, 1000, {}),
    ],
)
def test_connections_are_counted(facts, sections, replicas, found):
    seen = find(facts, replicas=replicas, **sections)
    assert seen.keys() == found.keys()
    assert all(evidence in seen[code] for code, evidence in found.items())


@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"max_client_connections": "29"}, "clients_over_limit"),
        ({"pool_size": "29"}, "shared_pool_over_limit"),
        ({"max_connections": "29"}, "shared_pool_over_limit"),
    ],
)
def test_limits_of_the_database_count_too(limit, code):
    assert find(replace(POOL, database={**POOL.database, **limit})).keys() == {code}


def test_listeners_that_go_to_postgres_itself_count_there():
    direct = {"upstream": {"dsn": DSN, "session_dsn": DSN}, "limits": {"listeners": 38}}
    found = find(SESSION, **direct)
    assert found.keys() == {"postgres_over_limit"}
    assert "98 connections" in found["postgres_over_limit"]


def test_logins_of_clients_count_with_their_pools(tmp_path):
    logins = {"reports": "postgresql://reports@localhost/app"}
    sections = {
        "upstream": {"dsn": DSN, "logins": logins},
        "auth": {"tokens_dir": tmp_path},
        "pool": {"login_size": 48},
    }
    assert find(POSTGRES, **sections)["postgres_over_limit"].startswith("98 connections")


def test_the_login_of_a_client_is_examined_for_its_own_part_alone():
    facts = replace(POOL, bypass_roles=("auditor",), pgbouncer_version="1.18.0", clock_skew_s=9)
    found = diagnose(
        build(http={"host": "0.0.0.0"}, auth={"open_network": True}), facts, is_client=True
    )
    assert [finding.code for finding in found] == ["login_bypasses_rls"]


def test_what_could_not_be_examined_says_why():
    (finding,) = diagnose(build(), Unexamined("permission denied"), is_client=False)
    assert (finding.code, finding.evidence) == ("unexamined", "permission denied")


@pytest.mark.parametrize(
    ("sections", "is_found"),
    [
        ({"http": {"host": "0.0.0.0"}}, True),
        ({"http": {"host": "127.0.0.1"}}, False),
        ({"http": {"host": "0.0.0.0", "unix_socket": "/run/http.sock"}}, False),
    ],
)
def test_an_open_network_is_found(sections, is_found):
    found = find_in_settings(auth={"open_network": True}, **sections)
    assert found == ({"open_network"} if is_found else set())


def test_tokens_close_the_network(tmp_path):
    auth = {"open_network": True, "tokens_dir": tmp_path}
    assert find_in_settings(auth=auth, http={"host": "0.0.0.0"}) == set()


@pytest.mark.parametrize(
    "session", [{"role": "app_ro"}, {"allowed_roles": ["app_ro"]}, {"allow_claims": True}]
)
def test_roles_that_raw_sql_can_leave_are_found(session):
    trusting = {"roles_are_no_boundary": True, **session}
    assert find_in_settings(session=trusting) == {"roles_no_boundary"}


def test_roles_of_saved_queries_are_no_finding(tmp_path):
    sections = {"session": {"role": "app_ro"}, "sql": {"mode": "named", "named_dir": tmp_path}}
    assert find_in_settings(**sections) == set()


def test_the_worst_comes_first():
    facts = replace(POOL, superuser_roles=("boss",), pgbouncer_version=None, clock_skew_s=9)
    found = diagnose(build(), facts, is_client=False)
    assert [finding.severity for finding in found] == [
        Severity.CRITICAL,
        Severity.WARNING,
        Severity.INFO,
    ]


def test_every_finding_has_a_remedy_that_is_a_sentence():
    assert [code for code, kind in KINDS.items() if not kind.remedy.endswith(".")] == []


@pytest.mark.parametrize(
    ("server_s", "skew_s"), [(99.0, -1.0), (100.0, 0), (103.0, 0), (105.0, 0), (107.5, 2.5)]
)
def test_the_time_of_the_way_is_no_skew(server_s, skew_s):
    assert measure_skew(100.0, server_s, 105.0) == skew_s
