"""The facts for the doctor's checks: asked once, on a connection of the engine's own pool."""

import ipaddress
from time import time
from typing import Any, cast

import orjson
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.doctor.facts import Facts, Row, Unexamined
from proxy.engine.connection import UpstreamConnection
from proxy.engine.console import Console
from proxy.engine.deadline import Deadline
from proxy.engine.driver import translate_driver_errors
from proxy.engine.factory import startup_parameters
from proxy.engine.flight import build_flight
from proxy.engine.lane_pool import LanePool
from proxy.engine.login import asked_settings, database_name
from proxy.engine.profile import CONSOLE_S, UpstreamProfile
from proxy.errors import ProxyError
from proxy.settings import Settings
from proxy.wire.rowset import RowSet

_UNKNOWN = object()
# One flight: right in every pool mode. Roles that the login may `set role` to count as its own.
_QUESTION = b"""
with held as (
    select rolname::text as name, rolsuper, rolbypassrls from pg_catalog.pg_roles
    where pg_catalog.pg_has_role(session_user, oid, 'member')
)
select pg_catalog.json_build_object(
    'superuser_roles', array(select name from held where rolsuper order by name),
    'server_roles', array(select name from held where name in
        ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')),
    'bypass_roles', array(select name from held where rolbypassrls order by name),
    'free_connections', pg_catalog.current_setting('max_connections')::int
        - pg_catalog.current_setting('superuser_reserved_connections')::int
        - coalesce(pg_catalog.current_setting('reserved_connections', true), '0')::int,
    'is_hop_open', coalesce((
        select not ssl and pg_catalog.inet_client_addr() <> pg_catalog.inet_server_addr()
            and not pg_catalog.inet_client_addr() <<= '127.0.0.0/8'
        from pg_catalog.pg_stat_ssl where pid = pg_catalog.pg_backend_pid()), false)
), pg_catalog.current_database(), extract(epoch from pg_catalog.clock_timestamp())
"""


async def examine(
    lanes: LanePool, engine: AsyncEngine, settings: Settings, profile: UpstreamProfile
) -> Facts | Unexamined:
    """Gather the facts; what keeps us from them is no reason not to serve."""
    try:
        with translate_driver_errors():
            return await _gather(lanes, engine, settings, profile)
    except ProxyError as error:
        return Unexamined(f"The upstream could not be examined: {error.detail}.")


async def _gather(
    lanes: LanePool, engine: AsyncEngine, settings: Settings, profile: UpstreamProfile
) -> Facts:
    deadline = Deadline.after(settings.upstream.connect_timeout_s)
    async with lanes.lease(deadline) as connection:
        sent_s = time()
        told, current, server_s = await _ask(connection, deadline)
        skew_s = measure_skew(sent_s, float(server_s), time())
        is_local = _is_local(connection.lane.extra_info("peername"))
        tls = connection.lane.extra_info("ssl_object")
    await lanes.release_idle()  # else a pool of one has nothing left for the engine
    database = database_name(settings) or current.decode()
    config, entry = await _ask_console(settings, profile, database)
    return Facts(
        **orjson.loads(told),
        kind=profile.kind,
        pool_mode=profile.pool_mode,
        is_session_proven=profile.is_session_proven,
        is_local=is_local,
        is_encrypted=tls is not None,
        is_verified=tls is not None and tls.context.check_hostname,  # it needs CERT_REQUIRED
        clock_skew_s=skew_s,
        driver=engine.dialect.driver,
        is_caching=await _is_caching(engine),
        asked_at_login=_list_asked(settings),
        pgbouncer_version=profile.pgbouncer_version,
        config=config,
        database=entry,
    )


async def _ask(connection: UpstreamConnection, deadline: Deadline) -> tuple[bytes, bytes, bytes]:
    rows = RowSet()
    answer = await connection.run(build_flight(_QUESTION), rows, deadline)
    if answer.error is not None:
        raise ProxyError(answer.error.message)
    (row,) = rows.rows
    return cast("tuple[bytes, bytes, bytes]", row)


async def _ask_console(
    settings: Settings, profile: UpstreamProfile, database: str
) -> tuple[Row, Row]:
    """Read PgBouncer's limits; both empty without a console that tells."""
    if profile.kind != "pgbouncer" or settings.upstream.console_dsn is None:
        return {}, {}
    try:
        async with Console.open(settings, CONSOLE_S) as console:
            config = {row["key"] or "": row["value"] for row in await console.show("CONFIG")}
            entries = await console.show("DATABASES")
    except ProxyError:
        return {}, {}  # the profile's evidence says why
    return config, next((row for row in entries if row["name"] == database), {})


def measure_skew(sent_s: float, server_s: float, received_s: float) -> float:
    """Say how far the server's clock is ahead of the time between question and answer."""
    if server_s > received_s:
        return server_s - received_s
    return min(server_s - sent_s, 0.0)


def _is_local(peer: Any) -> bool:  # as asyncio has it: a socket's path, or a tuple
    return not isinstance(peer, tuple) or ipaddress.ip_address(peer[0]).is_loopback


async def _is_caching(engine: AsyncEngine) -> bool:
    """Whether statements are remembered, as a connection of the pool has it; yes if unknown."""
    async with engine.connect() as checkout:
        proxied = await checkout.get_raw_connection()
        adapter, driver = proxied.dbapi_connection, proxied.driver_connection
        is_off = getattr(adapter, "_prepared_statement_cache", _UNKNOWN) is None
        return not is_off or getattr(driver, "_stmt_cache_enabled", True)


def _list_asked(settings: Settings) -> frozenset[str]:
    """List what the DSN sets, but for what PgBouncer tracks."""
    ours = {name.lower() for name in startup_parameters(settings)}
    return frozenset(asked_settings(settings)) - ours
