"""What the checks look at: one frozen report about an upstream as one login has it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Row = Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Facts:
    """As found out on a connection of the pool, and at PgBouncer's console where there is one."""

    kind: Literal["postgres", "pgbouncer"]
    pool_mode: str | None
    is_session_proven: bool
    superuser_roles: Sequence[str]  # that the login is, or may become
    server_roles: Sequence[str]  # that reach the server's files and programs
    bypass_roles: Sequence[str]  # that row level security doesn't hold
    free_connections: int  # of Postgres, for ordinary logins
    is_local: bool  # the other end of our connection is on this machine
    is_encrypted: bool
    is_verified: bool  # its certificate and its name, as sslmode=verify-full has it
    is_hop_open: bool  # PgBouncer reaches Postgres across a network without TLS
    clock_skew_s: float  # the server's clock is ahead by it, as far as the way can't explain it
    driver: str  # of the engine's dialect
    is_caching: bool  # the driver or the dialect remembers statements
    asked_at_login: frozenset[str]  # by the DSN
    pgbouncer_version: str | None
    config: Row  # of PgBouncer, by key; empty without a console
    database: Row  # its database's row, by column


@dataclass(frozen=True, slots=True)
class Unexamined:
    """Why there are no facts."""

    reason: str
