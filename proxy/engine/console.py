"""PgBouncer's admin console: its SHOW tables, by the lane's simple protocol.

Neither asyncpg nor SQLAlchemy can read their rows: the console knows no extended protocol, and
asyncpg drops the rows of a simple query.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from proxy.engine.driver import Driver, open_driver, translate_driver_errors
from proxy.engine.sqlstate import lost_error, statement_error
from proxy.errors import ProxyError, UpstreamUnavailable
from proxy.settings import Settings
from proxy.wire.lane import ConnectionLost, Lane
from proxy.wire.rowset import RowSet

Row = dict[str, str | None]


class Console:
    """One login to the console; a user of PgBouncer's `stats_users` may read every table."""

    def __init__(self, lane: Lane, timeout_s: float) -> None:
        self._lane = lane
        self._timeout_s = timeout_s

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: Settings, timeout_s: float) -> AsyncIterator["Console"]:
        """Log in to `upstream.console_dsn`; the login and each answer may take `timeout_s`.

        Raises:
            UpstreamUnavailable, UpstreamAuth: the console can't be reached, or refuses us.
        """
        if settings.upstream.console_dsn is None:
            raise ValueError("a console needs upstream.console_dsn")
        console = settings.with_upstream(settings.upstream.console_dsn.get_secret_value())
        async with AsyncExitStack() as stack:
            driver = await _log_in(stack, console, timeout_s)
            lane = Lane(driver, settings.limits.message_bytes)
            stack.callback(lane.hand_back)
            yield cls(lane, timeout_s)

    async def show(self, table: str) -> list[Row]:
        """Read one table, such as POOLS: each row by the names of its columns.

        By name only, since columns come and go with PgBouncer's version.

        Raises:
            SqlError: this version has no such table, or this user may not see it.
            UpstreamUnavailable: the connection was lost, or the answer took too long.
        """
        rows = RowSet()
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._lane.send_query(f"SHOW {table}", rows)
        except ConnectionLost as lost:
            raise lost_error(lost) from lost
        except TimeoutError as cause:
            await self._drop()
            raise UpstreamUnavailable("PgBouncer's console doesn't answer in time") from cause
        if answer.error is not None:
            raise statement_error(answer.error, executed="no", in_prefix=False, has_untyped=False)
        names = [field.name for field in rows.fields]
        return [dict(zip(names, map(_read_cell, row), strict=True)) for row in rows.rows]

    async def _drop(self) -> None:
        lost = self._lane.abandon()
        self._lane.abort()
        with suppress(ConnectionLost):
            await lost


async def _log_in(stack: AsyncExitStack, console: Settings, timeout_s: float) -> Driver:
    try:
        with translate_driver_errors():
            async with asyncio.timeout(timeout_s):
                return await stack.enter_async_context(open_driver(console))
    except ProxyError as error:
        raise type(error)(f"PgBouncer's console: {error.detail}") from error


def _read_cell(cell: bytes | None) -> str | None:
    return None if cell is None else cell.decode(errors="replace")
