"""What the upstream is, by proof."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, TypeAlias, cast, get_args

from proxy.engine.console import Console
from proxy.engine.driver import Driver, open_driver, translate_driver_errors
from proxy.engine.login import check_login, database_name
from proxy.engine.password import Password
from proxy.engine.probe import ModeProbe, PoolMode, probe_pool_mode, probe_tracking
from proxy.errors import ProxyError
from proxy.settings import Settings

PROBE_S = 10.0  # for all that is asked of PgBouncer, after the login
CONSOLE_S = 2.0  # for its console's login, and for each of its answers

_FACTS = """
select pg_catalog.pg_backend_pid(), session_user, pg_catalog.current_database(),
       pg_catalog.current_setting('server_version'),
       pg_catalog.current_setting('server_version_num')::int,
       not pg_catalog.pg_is_in_recovery()
"""

_MODES = frozenset(get_args(PoolMode))

Evidence = Literal["configuration", "console", "probe"]
_Open: TypeAlias = Callable[[], AbstractAsyncContextManager[Driver]]


@dataclass(frozen=True, slots=True)
class UpstreamProfile:
    """One frozen answer, which every other module asks."""

    kind: Literal["postgres", "pgbouncer"]
    pool_mode: PoolMode | None  # None on Postgres
    pool_mode_evidence: Evidence | None
    is_session_proven: bool  # a session is ours alone; by probe it's only likely
    pgbouncer_version: str | None  # only its console tells
    tracks_prepared: bool | None  # None on Postgres
    server_version: str
    server_version_num: int
    is_primary: bool
    evidence: str  # a sentence or two for people

    @property
    def treatment(self) -> tuple[bool, bool]:
        """What decides how we treat it: whether a session is ours, and whether BEGIN is refused."""
        return self.is_session_proven, self.pool_mode == "statement"


class _Server(NamedTuple):
    pid: int
    user: str
    database: str
    version: str
    version_num: int
    is_primary: bool


class Claim(NamedTuple):
    """A pool mode that we have been told, and by whom."""

    pool_mode: PoolMode
    evidence: Evidence
    reason: str


class _ConsoleReport(NamedTuple):
    version: str | None = None
    claim: Claim | None = None
    note: str = ""


async def detect_upstream(settings: Settings, password: Password | None = None) -> UpstreamProfile:
    """Connect and find out.

    PgBouncer hands out a process id of its own, so the one of the login differs from the one
    that pg_backend_pid() tells: docs/explanation/pgbouncer.md.

    Raises:
        UpstreamUnavailable, UpstreamAuth
        ProxyError: `upstream.kind` contradicts the proof, or a setting got lost at login.
    """
    with translate_driver_errors():
        async with (
            open_driver(settings, password) as connection,  # has deadlines of its own
            asyncio.timeout(settings.upstream.connect_timeout_s) as limit,
        ):
            (row,) = await connection.fetch(_FACTS)
            server = _Server(*row)
            is_direct = server.pid == connection.get_server_pid()
            _check_kind(settings.upstream.kind, is_direct=is_direct)
            await check_login(connection, settings)
            if is_direct:
                return _describe_postgres(server)
            limit.reschedule(asyncio.get_running_loop().time() + PROBE_S)
            return await _look_behind(settings, password, connection, server)


def _check_kind(kind: str, *, is_direct: bool) -> None:
    if is_direct and kind.startswith("pgbouncer"):
        raise ProxyError(
            f"upstream.kind is {kind}, but upstream.dsn leads to Postgres itself: the process id "
            "of the login is the server's own; correct one of them, or set upstream.kind = auto"
        )
    if not is_direct and kind == "postgres":
        raise ProxyError(
            "upstream.kind is postgres, but upstream.dsn leads to a PgBouncer: the process id of "
            "the login isn't the server's; correct one of them, or set upstream.kind = auto"
        )


def _describe_postgres(server: _Server) -> UpstreamProfile:
    return UpstreamProfile(
        kind="postgres",
        pool_mode=None,
        pool_mode_evidence=None,
        is_session_proven=True,
        pgbouncer_version=None,
        tracks_prepared=None,
        server_version=server.version,
        server_version_num=server.version_num,
        is_primary=server.is_primary,
        evidence="It is Postgres itself: the process id of the login is the server's own.",
    )


async def _look_behind(
    settings: Settings, password: Password | None, connection: Driver, server: _Server
) -> UpstreamProfile:
    """Find out how PgBouncer treats us; some answers cost `connection`."""
    report = await _ask_console(settings, server)
    open_another = partial(open_driver, settings, password)
    claim = _read_kind(settings.upstream.kind) or report.claim
    found = await _find_pool_mode(open_another, connection, claim)
    return UpstreamProfile(
        kind="pgbouncer",
        pool_mode=found.pool_mode,
        pool_mode_evidence=found.evidence,
        is_session_proven=found.pool_mode == "session" and found.evidence != "probe",
        pgbouncer_version=report.version,
        tracks_prepared=await _is_tracking(open_another, connection, settings.limits.message_bytes),
        server_version=server.version,
        server_version_num=server.version_num,
        is_primary=server.is_primary,
        evidence="It is PgBouncer: the process id of the login isn't the server's. "
        f"The pool mode is {found.pool_mode}: {found.reason}{report.note}.",
    )


async def _is_tracking(open_another: _Open, connection: Driver, max_bytes: int) -> bool:
    if not connection.is_closed():
        return await probe_tracking(connection, max_bytes)
    async with open_another() as another:
        return await probe_tracking(another, max_bytes)


async def _find_pool_mode(open_another: _Open, connection: Driver, claim: Claim | None) -> Claim:
    if claim is not None and claim.pool_mode != "session":
        return claim
    probe = await probe_pool_mode(connection, open_another)
    return settle_pool_mode(claim, probe)  # a wrong claim of session mode would leak


def settle_pool_mode(claim: Claim | None, probe: ModeProbe) -> Claim:
    """Weigh a claim of session mode, or none, against what was seen.

    Raises:
        ProxyError: `upstream.kind` says session, but server connections are shared.
    """
    if probe.pool_mode == "session" and claim is not None:
        return claim
    seen = Claim(probe.pool_mode, "probe", probe.seen)
    if claim is None:
        return seen
    if claim.evidence == "configuration":
        raise ProxyError(
            f"upstream.kind is pgbouncer-session, but the pool mode is {probe.pool_mode}: "
            f"{probe.seen}; set upstream.kind = auto"
        )
    return seen._replace(reason=f"{probe.seen}, although {claim.reason}")


def _read_kind(kind: str) -> Claim | None:
    mode = kind.removeprefix("pgbouncer-")
    if mode not in _MODES:
        return None
    return Claim(cast("PoolMode", mode), "configuration", "upstream.kind says so")


async def _ask_console(settings: Settings, server: _Server) -> _ConsoleReport:
    """Ask the console, if there is one; a failure is no more than a note."""
    if settings.upstream.console_dsn is None:
        return _ConsoleReport()
    try:
        async with Console.open(settings, CONSOLE_S) as console:
            about = next(iter(await console.show("VERSION")), {})
            version = (about.get("version") or "").removeprefix("PgBouncer ") or None
            database = database_name(settings) or server.database
            return _ConsoleReport(version, await _find_claim(console, database, server.user))
    except ProxyError as error:
        return _ConsoleReport(note=f" (its console is no help: {error.detail})")


async def _find_claim(console: Console, database: str, user: str) -> Claim | None:
    """Read the mode of our own pool, else the database's, else the general one."""
    places = (
        ("POOLS", {"database": database, "user": user}, "pool_mode"),
        ("DATABASES", {"name": database}, "pool_mode"),
        ("CONFIG", {"key": "pool_mode"}, "value"),
    )
    for table, ours, column in places:
        rows = await console.show(table)
        modes = (row.get(column) for row in rows if ours.items() <= row.items())
        mode = next(modes, None)
        if mode is not None:
            reason = f"its console says so in SHOW {table}"
            return Claim(cast("PoolMode", mode), "console", reason)
    return None
