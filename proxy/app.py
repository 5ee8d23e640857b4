"""Wiring: settings in, two listeners out, and their life from start to drain."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import uvloop

from proxy.api.application import Applications, Parts
from proxy.api.listener import ListenLimits, listen
from proxy.auth.tokens import TokenFolder
from proxy.encoders.stitcher import IMPLEMENTATION
from proxy.engine.upstream import Upstream
from proxy.errors import Draining
from proxy.keys import Lifecycle
from proxy.query.logins import Logins
from proxy.query.saved_folder import SavedFolder
from proxy.settings import Settings
from proxy.stats.counters import Counters

ANSWER_S = 2.0  # for the answers of what the end of the drain cancels
CLOSE_S = 5.0  # for the upstream's connections, after the drain
FORCED_EXIT = 1
UNREAD_SHARE = 2  # of the time that a stream gives its reader; streams see to that themselves
_log = logging.getLogger("pgsidecar.app")


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: where it listens, and what its tests look at."""

    url: str
    operations_url: str
    logins: Logins
    lifecycle: Lifecycle

    @property
    def upstream(self) -> Upstream:
        """The upstream as the login of `upstream.dsn` has it."""
        return self.logins.default.upstream


def serve(settings: Settings, on_ready: Callable[[Service], None]) -> int:
    """Serve until SIGTERM or SIGINT, drain, and return the exit code.

    A second signal ends the drain at once.

    Raises:
        ProxyError: the service can't start as it is configured.
    """
    return uvloop.run(_serve(settings, on_ready))


async def _serve(settings: Settings, on_ready: Callable[[Service], None]) -> int:
    stop, force = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal() -> None:
        (force if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    async with run_service(settings) as service:
        on_ready(service)
        await stop.wait()
        await drain(service, settings.http.drain_timeout_s, force)
    return FORCED_EXIT if force.is_set() else 0


async def drain(service: Service, timeout_s: float, force: asyncio.Event) -> None:
    """Refuse new work and wait for requests and open transactions; cancel what outlives the limit.

    `force` ends the waiting at once.
    """
    lifecycle = service.lifecycle
    _log.info("draining", extra={"fields": {"running": len(lifecycle.running)}})
    lifecycle.is_draining = True
    for login in service.logins:
        login.subscriptions.end_all()
    waits = [asyncio.ensure_future(wait) for wait in (_finish_work(service), force.wait())]
    await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    for login in service.logins:
        login.transactions.end_all()
        login.upstream.cancel_running(Draining)
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            await lifecycle.idle.wait()


async def _finish_work(service: Service) -> None:
    """Wait until nothing is in hand; between its requests an open transaction is."""
    waits = [service.lifecycle.idle, *(each.transactions.none_open for each in service.logins)]
    while not all(each.is_set() for each in waits):
        for each in waits:
            await each.wait()


@asynccontextmanager
async def run_service(settings: Settings) -> AsyncIterator[Service]:
    """Open operations listener, upstream and query listener; close them in reverse order."""
    if IMPLEMENTATION == "python":
        _log.warning("rows are encoded in Python, many times slower: no compiler at installation")
    counters = Counters()
    logins = Logins(settings, counters.count)
    lifecycle = Lifecycle(started_at=asyncio.get_running_loop().time())
    lifecycle.idle.set()
    tokens = TokenFolder(settings.auth.tokens_dir, counters.count)
    saved = SavedFolder(settings.sql.named_dir, settings.limits.sql_bytes, counters.count)
    applications = Applications(Parts(settings, counters, logins, lifecycle, tokens, saved))
    operations, queries = applications.build_operations(), applications.build_queries()
    limits = ListenLimits(settings.http.connections, UNREAD_SHARE * settings.limits.stream_stall_s)
    address = settings.http.unix_socket or (settings.http.host, settings.http.port)
    async with (
        tokens.watch(settings.auth.reload_s),
        saved.watch(settings.sql.reload_s),
        listen(operations, (settings.ops.host, settings.ops.port), limits) as operations_url,
    ):
        try:
            await logins.start()
            async with listen(queries, address, limits, applications.make_express) as url:
                yield Service(url, operations_url, logins, lifecycle)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await logins.close()
