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
    for code, roles in (
        ("login_superuser", facts.superuser_roles),
        ("login_reaches_server", facts.server_roles),
        ("login_bypasses_rls", facts.bypass_roles),
    ):
        if roles:
            yield Finding(code, f"The login is, or may become: {_join(roles)}.")
        if facts.superuser_roles:
            return  # who may do all the rest


def check_tls(case: Case) -> Found:
    """Something travels between machines that others can read or change."""
    facts = case.facts
    target = "PgBouncer" if facts.kind == "pgbouncer" else "Postgres"
    if not facts.is_local and not facts.is_encrypted:
        yield Finding("tls_off", f"The connection to {target} leaves this machine without TLS.")
    elif not facts.is_local and not facts.is_verified:
        yield Finding("tls_unverified", f"Nobody checks that it really is {target} who answers.")
    if facts.kind == "pgbouncer" and facts.is_hop_open:
        yield Finding("pgbouncer_tls_off", "Postgres sees PgBouncer elsewhere, without TLS.")


def check_driver(case: Case) -> Found:
    """The engine isn't the one that was tested."""
    facts = case.facts
    if facts.driver != "asyncpg":
        yield Finding("driver_unsafe", f"The engine's driver is {facts.driver}, not asyncpg.")
    if facts.is_caching:
        yield Finding("driver_unsafe", "A cache of prepared statements is on.")


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
        has_console = case.settings.upstream.console_dsn is not None
        reason = "Its console doesn't tell it" if has_console else "No upstream.console_dsn is set"
        yield Finding("pgbouncer_version_unknown", f"{reason}; its limits aren't known, either.")
    elif holes := [names for mended, names in _HOLES if numbers < mended]:
        yield Finding("pgbouncer_version", f"PgBouncer {version} is known for {_join(holes)}.")


def check_session(case: Case) -> Found:
    """Session mode has been seen, and not been told."""
    facts = case.facts
    if facts.pool_mode == "session" and not facts.is_session_proven:
        yield Finding("session_unproven", "Session mode was seen by the probe; nobody tells it.")


def check_ignored(case: Case) -> Found:
    """PgBouncer drops what a login sets."""
    listed = case.facts.config.get("ignore_startup_parameters") or ""
    ignored = {name.strip().lower() for name in listed.split(",")} - {"", *_HARMLESS}
    dropped = sorted(ignored & case.facts.asked_at_login)
    if dropped:
        yield Finding(
            "login_setting_dropped",
            f"ignore_startup_parameters drops {_join(dropped)} of upstream.dsn; it only seems to "
            "hold, as the server's own value is the same.",
        )
    if rest := sorted(ignored.difference(dropped)):
        yield Finding("ignored_startup_parameters", f"PgBouncer drops {_join(rest)} at login.")


def check_network(settings: Settings) -> Found:
    """Anybody on the network may send SQL."""
    http = settings.http
    is_guarded = settings.auth.has_tokens or http.unix_socket or is_loopback(http.host)
    if not is_guarded:
        yield Finding("open_network", "http.host is no loopback address; nobody needs a token.")


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


OF_LOGIN: tuple[Check, ...] = (check_privileges, check_tls, check_ignored)
OF_UPSTREAM: tuple[Check, ...] = (check_driver, check_version, check_session, check_clock)
