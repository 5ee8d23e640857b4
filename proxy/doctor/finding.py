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
    """One thing that was found; the evidence never has a password."""

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


_CRITICAL = {
    "start_refused": "Mend what the sentence names; `pgsidecar serve` ends with it.",
    "login_superuser": "Use a login that is no superuser, and no member of one.",
    "login_reaches_server": "Revoke these roles from the login, and from its roles.",
    "driver_unsafe": "Install pgsidecar anew, with the versions of its lock file.",
}
_WARNING = {
    "unexamined": "Let the login read pg_catalog, and run `pgsidecar doctor` again.",
    "login_bypasses_rls": "Use a login without BYPASSRLS that is no member of such a role.",
    "open_network": "Set auth.tokens_dir, or listen on 127.0.0.1 or a unix socket.",
    "tls_off": "Say sslmode=verify-full in upstream.dsn, or set upstream.tls_ca_file.",
    "tls_unverified": "Say sslmode=verify-full in upstream.dsn, or set upstream.tls_ca_file.",
    "pgbouncer_tls_off": "Set server_tls_sslmode = verify-full in PgBouncer's configuration.",
    "pgbouncer_version": "Take 1.25.2 or later, or a build whose distributor has mended these.",
    "login_setting_dropped": "Move it from upstream.dsn to session.settings, which always travel.",
    "clients_over_limit": "Lower pool.size and pool.overflow, or raise that limit of PgBouncer.",
    "session_pool_over_limit": "Lower pool.size and pool.overflow, or raise default_pool_size.",
    "postgres_over_limit": "Lower pool.size and pool.overflow, or raise max_connections.",
    "clock_skew": "Have both machines keep time by NTP.",
}
_INFO = {
    "pgbouncer_version_unknown": "Set upstream.console_dsn, for a user of its stats_users.",
    "session_unproven": "Set upstream.console_dsn or upstream.kind, where sessions are needed.",
    "ignored_startup_parameters": "Set these in session.settings, never in upstream.dsn.",
    "shared_pool_over_limit": "Lower pool.size and pool.overflow, so that requests wait here.",
    "roles_no_boundary": "Give clients whom you don't trust logins of their own.",
}
KINDS = {
    code: Kind(severity, remedy)
    for severity, remedies in zip(reversed(Severity), (_CRITICAL, _WARNING, _INFO), strict=True)
    for code, remedy in remedies.items()
}
