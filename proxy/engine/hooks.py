"""The user's SQL hooks: run on every new connection, in the form that holds."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.engine.profile import UpstreamProfile
from proxy.errors import ProxyError


def install_hooks(engine: AsyncEngine, hooks: Sequence[str], profile: UpstreamProfile) -> None:
    """Have every new connection run `hooks`.

    By the driver itself: a `cursor.execute` would open a transaction that the pool's first
    rollback undoes, and the setting with it (docs/explanation/connect-hooks.md).

    Raises:
        ProxyError: behind a PgBouncer that shares its server connections no hook can hold.
    """
    if not hooks:
        return
    if profile.kind == "pgbouncer" and profile.pool_mode != "session":
        raise ProxyError(
            "session.hooks would leak to strangers behind PgBouncer, which shares its server "
            "connections; use session.time_zone and session.settings, which travel with each "
            "statement, or set upstream.kind = pgbouncer-session where the pool mode is session"
        )

    def run_hooks(connection: Any, _record: object) -> None:  # SQLAlchemy's adapter of asyncpg
        for sql in hooks:
            connection.run_async(lambda driver, sql=sql: driver.execute(sql))

    event.listen(engine.sync_engine, "connect", run_hooks)
