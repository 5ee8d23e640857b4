"""The checks of an upstream and of the settings: each yields what it finds."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from proxy.doctor.facts import Facts
from proxy.doctor.finding import Finding
from proxy.settings import Settings, is_loopback

MAX_SKEW_S = 2.0
_HARMLESS = frozenset({"extra_float_digits"})  # drivers ask for it, and it changes no answer
# By the version that mended them, as the changelog of PgBouncer has it.
_HOLES = (
    ((1, 24, 1), "CVE-2025-2291"),
    ((1, 25, 1), "CVE-2025-12819"),
    ((1, 25, 2), "CVE-2026-6664, CVE-2026-6665, CVE-2026-6666, CVE-2026-6667"),
)


@dataclass(frozen=True, slots=True)
class Case:
    """What is examined; `replicas` is how many services like this one run."""

    settings: Settings
    facts: Facts
    replicas: int = 1


Found = Iterator[Finding]
Check = Callable[[Case], Found]


def check_privileges(case: Case) -> Found:
    """The login can do what no client's SQL should."""
    facts = case.facts
    if facts.superuser_roles:
        yield Finding(
            "login_superuser", f"The login is, or may become: {_join(facts.superuser_roles)}."
        )
        return  # who may do all the rest
    if facts.server_roles:
        yield Finding(
            "login_reaches_server", f"The login is a member of {_join(facts.server_roles)}."
        )
    if facts.bypass_roles:
        names = _join(facts.bypass_roles)
        yield Finding(
            "login_bypasses_rls", f"The login is, or may become, with BYPASSRLS: {names}."
        )


def check_tls(case: Case) -> Found:
    """Something travels between machines that others can read or change."""
    facts = case.facts
    target = "PgBouncer" if facts.kind == "pgbouncer" else "Postgres"
    if not facts.is_local and not facts.is_encrypted:
        yield Finding("tls_off", f"The connection to {target} leaves this machine without TLS.")
    elif not facts.is_local and not facts.is_verified:
        yield Finding(
            "tls_unverified",
            f"The connection to {target} leaves this machine, and the certificate or its name "
            "isn't checked.",
        )
    if facts.kind == "pgbouncer" and facts.is_hop_open:
        yield Finding(
            "pgbouncer_tls_off", "Postgres sees PgBouncer on another machine, without TLS."
        )


def check_driver(case: Case) -> Found:
    """The engine isn't the one that was tested."""
    facts = case.facts
    if facts.driver != "asyncpg":
        yield Finding("driver_unsafe", f"The engine's driver is {facts.driver}, not asyncpg.")
    if facts.is_caching:
        yield Finding(
            "driver_unsafe", "A cache of prepared statements is on in the driver or its dialect."
        )


def check_clock(case: Case) -> Found:
    """The server's clock and ours differ."""
    skew_s = case.facts.clock_skew_s
    if abs(skew_s) > MAX_SKEW_S:
        side = "ahead of" if skew_s > 0 else "behind"
        yield Finding("clock_skew", f"The server's clock is {abs(skew_s):.1f} s {side} ours.")


def check_version(case: Case) -> Found:
    """This PgBouncer has holes that a newer one hasn't."""
    facts = case.facts
    if facts.kind != "pgbouncer":
        return
    version = facts.pgbouncer_version
    numbers = tuple(map(int, re.findall(r"\d+", version or "")[:3]))
    if not numbers:
        yield Finding("pgbouncer_version_unknown", _explain_silence(case.settings))
        return
    holes = [names for mended, names in _HOLES if numbers < mended]
    if holes:
        yield Finding("pgbouncer_version", f"PgBouncer {version} is known for {_join(holes)}.")


def _explain_silence(settings: Settings) -> str:
    if settings.upstream.console_dsn is None:
        return "No upstream.console_dsn is set, and PgBouncer tells its version nowhere else."
    return "PgBouncer's console doesn't tell it; `upstream.evidence` of /stats may say why."


def check_session(case: Case) -> Found:
    """Session mode has been seen, and not been told."""
    facts = case.facts
    if facts.pool_mode == "session" and not facts.is_session_proven:
        yield Finding(
            "session_unproven",
            "Nobody says that PgBouncer's pool mode is session: it only looked so while probed.",
        )


def check_ignored(case: Case) -> Found:
    """PgBouncer drops what a login sets."""
    listed = case.facts.config.get("ignore_startup_parameters") or ""
    ignored = {name.strip().lower() for name in listed.split(",")} - {"", *_HARMLESS}
    dropped = sorted(ignored & case.facts.asked_at_login)
    if dropped:
        yield Finding(
            "login_setting_dropped",
            f"upstream.dsn sets {_join(dropped)}, which ignore_startup_parameters drops; it holds "
            "only as long as the server's own value is the same.",
        )
    if rest := sorted(ignored.difference(dropped)):
        yield Finding(
            "ignored_startup_parameters",
            f"PgBouncer's ignore_startup_parameters drops {_join(rest)} of any login.",
        )


def check_network(settings: Settings) -> Found:
    """Anybody on the network may send SQL."""
    http = settings.http
    is_guarded = settings.auth.tokens_dir or http.unix_socket or is_loopback(http.host)
    if not is_guarded:
        yield Finding(
            "open_network", "http.host is no loopback address, and auth.tokens_dir is unset."
        )


def check_roles(settings: Settings) -> Found:
    """Roles or claims keep nobody in."""
    session = settings.session
    names = ("role", "allowed_roles", "allow_claims")
    left = [f"session.{name}" for name in names if getattr(session, name)]
    if left and settings.sql.mode != "named":
        yield Finding(
            "roles_no_boundary", f"Clients may send SQL of their own, which leaves {_join(left)}."
        )


def _join(names: Sequence[str]) -> str:
    return ", ".join(names)
