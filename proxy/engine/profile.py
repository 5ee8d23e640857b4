"""What the upstream is, by proof."""

import asyncio
from dataclasses import dataclass
from typing import Literal

import asyncpg

from proxy.engine.factory import connect_driver
from proxy.engine.sqlstate import connect_error
from proxy.settings import Settings

PoolMode = Literal["session", "transaction", "statement"]


@dataclass(frozen=True, slots=True)
class UpstreamProfile:
    """One frozen answer, which every other module asks."""

    kind: Literal["postgres", "pgbouncer"]
    pool_mode: PoolMode | None  # None on Postgres, and where nobody has said it
    server_version: str
    is_primary: bool
    evidence: str


async def detect_upstream(settings: Settings) -> UpstreamProfile:
    """Connect once and find out.

    PgBouncer hands out a process id of its own, so the one of the login differs from the one
    that pg_backend_pid() tells: docs/explanation/pgbouncer.md.

    Raises:
        UpstreamUnavailable, UpstreamAuth
    """
    try:
        async with asyncio.timeout(settings.upstream.connect_timeout_s):
            return await _look(settings)
    except asyncpg.PostgresError as cause:
        raise connect_error(cause.sqlstate, str(cause)) from cause
    except (OSError, asyncpg.InterfaceError) as cause:  # TimeoutError is an OSError
        raise connect_error(None, str(cause) or "it doesn't answer in time") from cause


async def _look(settings: Settings) -> UpstreamProfile:
    connection = await connect_driver(settings)
    try:
        pid = await connection.fetchval("select pg_catalog.pg_backend_pid()")
        in_recovery = await connection.fetchval("select pg_catalog.pg_is_in_recovery()")
        is_direct = pid == connection.get_server_pid()
        version = connection.get_settings().server_version
    finally:
        await connection.close()
    relation = "equals" if is_direct else "differs from"
    return UpstreamProfile(
        kind="postgres" if is_direct else "pgbouncer",
        pool_mode=_configured_mode(settings.upstream.kind),
        server_version=version,
        is_primary=not in_recovery,
        evidence=f"the process id of the login {relation} the server's",
    )


def _configured_mode(kind: str) -> PoolMode | None:
    modes: dict[str, PoolMode] = {
        "pgbouncer-session": "session",
        "pgbouncer-transaction": "transaction",
        "pgbouncer-statement": "statement",
    }
    return modes.get(kind)
