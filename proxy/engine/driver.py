"""One asyncpg connection of our own, beside the engine's: for what is asked before there is one."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeAlias

import asyncpg

from proxy.engine.factory import connect_driver
from proxy.engine.sqlstate import connect_error
from proxy.settings import Settings

Driver: TypeAlias = "asyncpg.Connection[Any]"

CLOSE_S = 1.0  # longest goodbye; after it the connection is dropped


@asynccontextmanager
async def open_driver(settings: Settings) -> AsyncIterator[Driver]:
    """Open a connection as the engine does, and close it whatever happens."""
    connection = await connect_driver(settings)
    try:
        yield connection
    finally:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=CLOSE_S)


@contextmanager
def translate_driver_errors() -> Iterator[None]:
    """Turn the driver's errors into ours.

    Raises:
        UpstreamUnavailable, UpstreamAuth: nothing was executed.
    """
    try:
        yield
    except asyncpg.PostgresError as cause:
        raise connect_error(cause.sqlstate, str(cause)) from cause
    except (OSError, asyncpg.InterfaceError) as cause:  # TimeoutError is an OSError
        raise connect_error(None, str(cause) or "it doesn't answer in time") from cause
