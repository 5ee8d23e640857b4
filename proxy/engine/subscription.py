"""LISTEN for one client, on a connection of its own beside the pool."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import NamedTuple

import asyncpg

from proxy.engine.driver import Driver, open_driver, translate_driver_errors
from proxy.engine.password import build_password
from proxy.engine.sqlstate import statement_error
from proxy.engine.upstream import Upstream
from proxy.errors import (
    Draining,
    NeedsSession,
    ProxyError,
    RequestTimeout,
    TooManyListeners,
    UpstreamUnavailable,
)
from proxy.settings import Settings
from proxy.stats.events import Emit, Event
from proxy.wire.messages import ServerMessage

MAX_HELD = 1000  # notifications for a slow reader; the server allows each 8000 bytes
CHECK_S = 5.0  # longest wait for the proof that the server still listens
_LISTENED = "select pg_catalog.pg_listening_channels()"
_PID = "select pg_catalog.pg_backend_pid()"


class Notification(NamedTuple):
    """What somebody's NOTIFY said, and the process id of his session."""

    channel: str
    payload: str
    pid: int


class Subscription:
    """What one client hears, from its LISTEN on until it ends."""

    def __init__(self, channels: Sequence[str], emit: Emit) -> None:
        self._channels = channels
        self._emit = emit
        self._held: list[Notification] = []
        self._problem: ProxyError | None = None
        self._wake = asyncio.Event()

    async def start(self, driver: Driver) -> None:
        """Listen on every channel.

        Raises:
            SqlError: the server refuses it, as a replica does.
            UpstreamUnavailable
        """
        self._driver = driver
        driver.add_termination_listener(self._lose)
        try:
            for channel in self._channels:
                await driver.add_listener(channel, self._hear)
        except asyncpg.PostgresConnectionError:
            raise  # lost, not refused
        except asyncpg.PostgresError as cause:
            message = ServerMessage("ERROR", cause.sqlstate or "XX000", str(cause))
            error = statement_error(message, executed="no", in_prefix=False, has_untyped=False)
            raise error from cause

    async def take(self, timeout_s: float) -> list[Notification]:
        """Wait for notifications; empty when none came in time.

        Raises:
            ProxyError: why there will be none any more.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()
        taken, self._held = self._held, []
        if not taken and self._problem is not None:
            raise self._problem
        if self._problem is None:
            self._wake.clear()
        return taken

    async def check(self) -> None:
        """Prove that the server still listens for us.

        Raises:
            UpstreamUnavailable: it doesn't, so notifications may have been lost.
        """
        try:
            async with asyncio.timeout(CHECK_S):
                heard = {channel for (channel,) in await self._driver.fetch(_LISTENED)}
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as cause:
            # TimeoutError is an OSError
            raise _lost("the connection to the upstream was lost") from cause
        if not heard.issuperset(self._channels):
            raise _lost("the upstream listens no more; its session was given to somebody else")

    def end(self, problem: ProxyError) -> None:
        """Have the client hear what has come so far, and then why it ends."""
        self._problem = self._problem or problem
        self._wake.set()

    def _hear(self, _driver: object, pid: int, channel: str, payload: object) -> None:
        if self._problem is not None:
            return
        if len(self._held) >= MAX_HELD:
            self._emit(Event.LISTENER_CUT, 1)
            self.end(
                RequestTimeout(
                    f"{MAX_HELD} notifications waited for the reader, who took none; those after "
                    "the last one here are lost",
                    phase="stream",
                )
            )
            return
        self._held.append(Notification(channel, str(payload), pid))
        self._wake.set()

    def _lose(self, _driver: object) -> None:
        self.end(_lost("the connection to the upstream was lost"))


class SubscriptionBook:
    """Opens subscriptions, as many as `limits.listeners` allows, and ends all of them."""

    def __init__(self, settings: Settings, upstream: Upstream, emit: Emit) -> None:
        self._settings = settings
        self._limit = settings.limits.listeners
        self._upstream = upstream
        self._emit = emit
        self._direct: Settings | None = None
        self._password = upstream.password
        if settings.upstream.session_dsn is not None:
            self._direct = settings.for_session(settings.upstream.session_dsn)
            self._password = build_password(self._direct.upstream, emit)
        self._open: set[Subscription] = set()
        self._max_open = 0

    def gauges(self) -> dict[str, int]:
        """Return what `/stats` shows."""
        return {"limit": self._limit, "open": len(self._open), "max_open": self._max_open}

    @asynccontextmanager
    async def open(self, channels: Sequence[str]) -> AsyncIterator[Subscription]:
        """Listen as long as the block lasts.

        Raises:
            NeedsSession: there is no session of our own on this upstream.
            TooManyListeners
            UpstreamUnavailable, UpstreamAuth, SqlError: as `Subscription.start`.
        """
        settings = self._choose_upstream()
        if len(self._open) >= self._limit:
            raise TooManyListeners(
                f"{self._limit} clients listen already, as many as limits.listeners allows"
            )
        subscription = Subscription(channels, self._emit)
        self._open.add(subscription)
        self._max_open = max(self._max_open, len(self._open))
        try:
            async with AsyncExitStack() as stack:
                with translate_driver_errors():
                    driver = await stack.enter_async_context(open_driver(settings, self._password))
                    async with asyncio.timeout(settings.upstream.connect_timeout_s):
                        await self._check_session(driver)
                        await subscription.start(driver)
                self._emit(Event.LISTENER_OPENED, 1)
                yield subscription
        finally:
            self._open.remove(subscription)

    async def close(self) -> None:
        """End what runs for a login of its own."""
        if self._direct is not None and self._password is not None:
            await self._password.close()

    def end_all(self) -> None:
        """End every subscription, because the service shuts down."""
        for subscription in self._open:
            subscription.end(Draining("the service is shutting down", phase="stream"))

    def _choose_upstream(self) -> Settings:
        if self._direct is not None:
            return self._direct
        if not self._upstream.connected.profile.is_session_proven:
            raise NeedsSession(
                "LISTEN needs a session of its own, and this PgBouncer may share them; set "
                "upstream.session_dsn to the address of Postgres itself"
            )
        return self._settings

    async def _check_session(self, driver: Driver) -> None:
        """See that `upstream.session_dsn` leads to no PgBouncer: its process ids are its own."""
        if self._settings.upstream.session_dsn is None:
            return
        if await driver.fetchval(_PID) != driver.get_server_pid():
            raise NeedsSession(
                "upstream.session_dsn leads to a PgBouncer, which may share sessions; set it to "
                "the address of Postgres itself"
            )


def _lost(detail: str) -> UpstreamUnavailable:
    return UpstreamUnavailable(
        f"{detail}; notifications since the last one here may be lost", phase="stream"
    )
