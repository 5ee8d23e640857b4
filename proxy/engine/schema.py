"""Reads the schema through the engine, one request at a time."""

import asyncio

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.engine.connection import check_out_fresh
from proxy.engine.deadline import Deadline
from proxy.engine.driver import translate_driver_errors
from proxy.engine.inspection import read_schemas
from proxy.engine.sqlstate import statement_error
from proxy.engine.upstream import Upstream
from proxy.errors import DeadlineExceeded, QueueFull
from proxy.stats.events import Emit
from proxy.wire.messages import ServerMessage

MAX_READERS = 16  # requests that read or wait for their turn


class SchemaReader:
    """Borrows a connection of the engine's, as long as it reads.

    Reading is done by a task of its own, since a client that goes away may not interrupt it: the
    driver's cancel could hit a stranger's statement behind PgBouncer.
    """

    def __init__(self, upstream: Upstream, emit: Emit) -> None:
        self._upstream = upstream
        self._emit = emit
        self._turn = asyncio.Lock()
        self._readers = 0
        self._task: asyncio.Task[bytes] | None = None

    async def read(self, schema: str | None, max_bytes: int, deadline: Deadline) -> bytes:
        """Read one schema, or all but the system's, as JSON.

        Raises:
            QueueFull, PoolTimeout, UpstreamUnavailable, DeadlineExceeded: nothing was read.
            NotFound, ResultTooLarge: as `read_schemas`.
        """
        if self._readers >= MAX_READERS:
            raise QueueFull(f"{MAX_READERS} requests read the schema already")
        self._readers += 1
        try:
            async with asyncio.timeout_at(deadline.at):
                await self._turn.acquire()
        except TimeoutError as late:
            raise DeadlineExceeded("others read the schema", phase="queue") from late
        finally:
            self._readers -= 1
        self._task = asyncio.create_task(self._read(schema, max_bytes, deadline))
        self._task.add_done_callback(self._finish)
        return await asyncio.shield(self._task)

    async def close(self) -> None:
        """End what is being read."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def _finish(self, task: asyncio.Task[bytes]) -> None:
        self._turn.release()
        if not task.cancelled():
            task.exception()  # its client may have gone

    async def _read(self, schema: str | None, max_bytes: int, deadline: Deadline) -> bytes:
        engine = self._upstream.connected.engine
        try:
            async with asyncio.timeout_at(deadline.at):
                with translate_driver_errors():
                    checkout = await check_out_fresh(engine, self._emit)
                    try:
                        return await _inspect(checkout, schema, max_bytes)
                    finally:
                        await checkout.close()
        except TimeoutError as late:
            raise DeadlineExceeded("the schema was not read in time", executed="no") from late


async def _inspect(checkout: AsyncConnection, schema: str | None, max_bytes: int) -> bytes:
    try:
        return await checkout.run_sync(read_schemas, schema, max_bytes)
    except DBAPIError as cause:
        sqlstate = getattr(cause.orig, "sqlstate", None)
        if sqlstate is None or cause.connection_invalidated:
            raise
        message = ServerMessage("ERROR", sqlstate, str(cause.orig))
        raise statement_error(message, executed="no", in_prefix=False, has_untyped=False) from cause
