"""What the doctor can find: codes, how bad each is, and what to do about it."""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class Severity(IntEnum):
    """How bad a finding is; as a number the exit code of `pgsidecar doctor`."""

    INFO = 0
    WARNING = 1
    CRITICAL = 2


class Kind(NamedTuple):
    """What all findings with a code have in common."""

    severity: Severity
    remedy: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found; neither part ever has a password or an address."""

    code: str
    evidence: str

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return KINDS[self.code].severity

    def show(self) -> dict[str, str]:
        """Return `{code, severity, evidence, remedy}`."""
        return {
            "code": self.code,
            "severity": self.severity.name.lower(),
            "evidence": self.evidence,
            "remedy": KINDS[self.code].remedy,
        }


_CRITICAL, _WARNING, _INFO = Severity.CRITICAL, Severity.WARNING, Severity.INFO
_SMALLER = "Lower pool.size and pool.overflow, or run fewer replicas"
KINDS = {
    "start_refused": Kind(
        _CRITICAL, "Mend what the sentence names; `pgsidecar serve` ends with it."
    ),
    "unexamined": Kind(
        _WARNING, "See that the login may read pg_catalog, and run `pgsidecar doctor` again."
    ),
    "login_superuser": Kind(
        _CRITICAL,
        "Use a login that is no superuser and no member of one: any client's SQL reaches the "
        "server's files and programs.",
    ),
    "login_reaches_server": Kind(
        _CRITICAL,
        "Revoke these roles from the login: any client's SQL reaches the server's files or "
        "programs by them.",
    ),
    "login_bypasses_rls": Kind(
        _WARNING,
        "Use a login without BYPASSRLS that is no member of such a role: policies don't hold it.",
    ),
    "driver_unsafe": Kind(
        _CRITICAL,
        "Install pgsidecar anew with the versions of its lock file: statements that are remembered "
        "break behind PgBouncer and answer wrongly after DDL.",
    ),
    "open_network": Kind(
        _WARNING,
        "Set auth.tokens_dir, or listen on 127.0.0.1 or a unix socket.",
    ),
    "roles_no_boundary": Kind(
        _INFO,
        "Give clients that you don't trust a login of their own (upstream.logins), or set "
        "sql.mode = named.",
    ),
    "tls_off": Kind(_WARNING, "Say sslmode=verify-full in upstream.dsn, or set tls_ca_file."),
    "tls_unverified": Kind(
        _WARNING,
        "Say sslmode=verify-full in upstream.dsn, with upstream.tls_ca_file for an authority of "
        "your own: as it is, anybody in between can be the server.",
    ),
    "pgbouncer_tls_off": Kind(
        _WARNING, "Set server_tls_sslmode = verify-full in PgBouncer's configuration."
    ),
    "pgbouncer_version": Kind(
        _WARNING,
        "Upgrade PgBouncer to 1.25.2 or later, unless your distribution says that it has mended "
        "these in its own build.",
    ),
    "pgbouncer_version_unknown": Kind(
        _INFO,
        "Set upstream.console_dsn, for a user of PgBouncer's stats_users: then its version and its "
        "limits are checked, too.",
    ),
    "session_unproven": Kind(
        _INFO,
        "Set upstream.console_dsn, or upstream.kind = pgbouncer-session, where sessions are "
        "needed; until then nothing relies on them.",
    ),
    "login_setting_dropped": Kind(
        _WARNING, "Move it from upstream.dsn to session.settings, which travel with each statement."
    ),
    "ignored_startup_parameters": Kind(
        _INFO,
        "Never set these in upstream.dsn, but in session.settings, which travel with each "
        "statement.",
    ),
    "clients_over_limit": Kind(_WARNING, f"{_SMALLER}, or raise PgBouncer's max_client_conn."),
    "session_pool_over_limit": Kind(
        _WARNING,
        f"{_SMALLER}, or raise PgBouncer's default_pool_size (max_db_connections, too): in session "
        "mode each connection keeps a server connection, and the others wait.",
    ),
    "shared_pool_over_limit": Kind(
        _INFO,
        f"{_SMALLER}: what is more waits in PgBouncer, whose queue ends in a closed connection.",
    ),
    "postgres_over_limit": Kind(
        _WARNING, f"{_SMALLER}, lower PgBouncer's pool, or raise Postgres' max_connections."
    ),
    "clock_skew": Kind(
        _WARNING,
        "Have both machines keep time by NTP: log lines, tokens and certificates go by the clock.",
    ),
}
