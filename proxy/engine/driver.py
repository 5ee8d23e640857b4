"""asyncpg as we use it: a connection of our own beside the engine's, and its errors as ours."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from ssl import SSLCertVerificationError
from typing import Any, TypeAlias

import asyncpg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as CheckoutTimeout

from proxy.engine.factory import connect_driver
from proxy.engine.password import Password
from proxy.engine.sqlstate import connect_error
from proxy.errors import PoolTimeout, UpstreamAuth
from proxy.settings import Settings

Driver: TypeAlias = "asyncpg.Connection[Any]"

CLOSE_S = 1.0  # longest goodbye; after it the connection is dropped


@asynccontextmanager
async def open_driver(
    settings: Settings, password: Password | None = None
) -> AsyncIterator[Driver]:
    """Open a connection as the engine does, and close it whatever happens."""
    connection = await connect_driver(settings, password)
    try:
        yield connection
    finally:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=CLOSE_S)


@contextmanager
def translate_driver_errors() -> Iterator[None]:
    """Turn what asyncpg and SQLAlchemy raise while they connect into ours: the one place for it.

    Raises:
        UpstreamUnavailable, UpstreamAuth, PoolTimeout: nothing was executed.
    """
    try:
        yield
    except CheckoutTimeout as cause:
        raise PoolTimeout("all connections of the engine's pool are held") from cause
    except DBAPIError as cause:
        raise connect_error(getattr(cause.orig, "sqlstate", None), str(cause.orig)) from cause
    except asyncpg.PostgresError as cause:
        raise connect_error(cause.sqlstate, str(cause)) from cause
    except SSLCertVerificationError as cause:
        reason = f"the upstream's certificate is not to be trusted: {cause.verify_message}"
        raise UpstreamAuth(reason) from cause
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as cause:
        # TimeoutError is an OSError
        raise connect_error(None, str(cause) or "it doesn't answer in time") from cause
