"""Settings in, a tuned SQLAlchemy engine out."""

import asyncio
import random
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import asyncpg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from proxy.engine.password import Password
from proxy.errors import ProxyError
from proxy.settings import Settings
from proxy.settings_upstream import UpstreamSettings
from proxy.stats.events import Emit, Event

EXPIRES_AT = "pgsidecar_expires_at"  # key in the pool record's info: seconds on the loop's clock
_VERIFIED = frozenset({"verify-ca", "verify-full"})
_YOUNGEST = 0.8  # connections opened together don't retire together


def build_engine(
    settings: Settings, emit: Emit, *, autocommit: bool = False, password: Password | None = None
) -> AsyncEngine:
    """Build the engine: asyncpg, both statement caches off, statistics from the pool's events.

    Both caches, because SQLAlchemy's own on top of asyncpg's 0 answers silently wrong after DDL
    (docs/explanation/pgbouncer.md). `autocommit` is for statement pools, which refuse BEGIN even
    in the dialect's first look at the server.
    """

    async def connect() -> "asyncpg.Connection[Any]":
        return await connect_driver(settings, password)

    def create() -> Any:  # the dialect's adapter of an asyncpg connection
        return engine.sync_engine.dialect.dbapi.connect(  # type: ignore[union-attr]  # asyncpg has one
            async_creator_fn=connect, prepared_statement_cache_size=0
        )

    pool = settings.pool
    engine = create_async_engine(
        "postgresql+asyncpg://",
        creator=create,
        pool_size=pool.size,
        max_overflow=pool.overflow,
        pool_timeout=pool.checkout_timeout_s,
        pool_recycle=-1,  # age is the lease's business: a lent lane never meets the pool's checks
        pool_pre_ping=False,
        pool_use_lifo=True,
        **({"isolation_level": "AUTOCOMMIT"} if autocommit else {}),
    )
    _watch(engine, pool.max_age_s, emit)
    return engine


async def connect_driver(
    settings: Settings, password: Password | None = None
) -> "asyncpg.Connection[Any]":
    """Open one asyncpg connection as the settings say: hosts, TLS and login are the DSN's.

    `password` has one that isn't in the DSN.

    Raises:
        ProxyError: the DSN asks for what doesn't exist.
        asyncpg.PostgresError, asyncpg.InterfaceError, OSError: it can't be opened.
    """
    if password is None:
        return await _connect(settings)
    return await password.log_in(partial(_connect, settings))


async def _connect(settings: Settings, password: str | None = None) -> "asyncpg.Connection[Any]":
    upstream = settings.upstream
    try:
        connection = await asyncpg.connect(
            _driver_dsn(upstream),
            password=password,
            statement_cache_size=0,
            timeout=upstream.connect_timeout_s,
            server_settings=dict(startup_parameters(settings)),
        )
    except asyncpg.exceptions.ClientConfigurationError as cause:
        raise ProxyError(f"upstream.dsn can't be used: {cause}") from cause
    _switch_jit_lookup_off(connection)
    return connection


def _driver_dsn(upstream: UpstreamSettings) -> str:
    """Write the DSN as libpq and asyncpg have it.

    Raises:
        ProxyError: an authority is given, and a TLS mode that wouldn't ask it.
    """
    if upstream.dsn is None:
        raise ValueError("an engine needs upstream.dsn")
    scheme, _, rest = upstream.dsn.get_secret_value().partition("://")
    dsn = f"{scheme.partition('+')[0]}://{rest}"
    if upstream.tls_ca_file is None:
        return dsn
    asked = dict(parse_qsl(urlsplit(dsn).query))
    query = {"sslmode": "verify-full", **asked, "sslrootcert": str(upstream.tls_ca_file)}
    if query["sslmode"] not in _VERIFIED:
        raise ProxyError(
            "upstream.tls_ca_file is for sslmode=verify-full (or verify-ca), which "
            "upstream.dsn overrules; take sslmode out of it"
        )
    return f"{dsn.partition('?')[0]}?{urlencode(query)}"


def startup_parameters(settings: Settings) -> Mapping[str, str]:
    """What every PgBouncer tracks for us; anything else is refused or lost behind one."""
    parameters = {
        "application_name": settings.upstream.application_name,
        # asyncpg's own 'utf-8' makes PgBouncer 1.18 send a SET before every transaction
        "client_encoding": "UTF8",
        "DateStyle": "ISO, MDY",
        "standard_conforming_strings": "on",  # our lexer reads strings so
    }
    if settings.session.time_zone is not None:
        parameters["TimeZone"] = settings.session.time_zone
    return parameters


def _switch_jit_lookup_off(connection: "asyncpg.Connection[Any]") -> None:
    """Keep type introspection from setting `jit` on a server that PgBouncer shares."""
    capabilities = getattr(connection, "_server_caps", None)
    if capabilities is not None and hasattr(capabilities, "jit"):
        connection._server_caps = capabilities._replace(jit=False)  # type: ignore[attr-defined]  # noqa: SLF001  # no public way


def _watch(engine: AsyncEngine, max_age_s: float, emit: Emit) -> None:
    pool = engine.sync_engine.pool

    def on_connect(_connection: object, record: Any) -> None:  # SQLAlchemy's ConnectionPoolEntry
        age_s = max_age_s * random.uniform(_YOUNGEST, 1)  # noqa: S311  # jitter needs no secrecy
        record.info[EXPIRES_AT] = asyncio.get_running_loop().time() + age_s
        emit(Event.CONNECTION_OPENED, 1)

    event.listen(pool, "connect", on_connect)
    event.listen(pool, "checkout", lambda *_: emit(Event.CONNECTION_CHECKED_OUT, 1))
    event.listen(pool, "invalidate", lambda *_: emit(Event.CONNECTION_INVALIDATED, 1))
    event.listen(pool, "close", lambda *_: emit(Event.CONNECTION_CLOSED, 1))
