"""Wiring: settings in, two listeners out, and their life from start to drain."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import uvloop

from proxy.api.application import Applications, Parts
from proxy.api.listener import listen
from proxy.encoders.stitcher import IMPLEMENTATION
from proxy.engine.schema import SchemaReader
from proxy.engine.subscription import SubscriptionBook
from proxy.engine.upstream import Upstream
from proxy.errors import Draining
from proxy.keys import Lifecycle
from proxy.query.saved_folder import SavedFolder
from proxy.query.transaction_book import TransactionBook
from proxy.settings import Settings
from proxy.stats.counters import Counters

ANSWER_S = 2.0  # for the answers of what the end of the drain cancels
CLOSE_S = 5.0  # for the upstream's connections, after the drain
FORCED_EXIT = 1
_log = logging.getLogger("pgsidecar.app")


@dataclass(frozen=True, slots=True)
class Service:
    """A running service: where it listens, and what its tests look at."""

    url: str
    operations_url: str
    upstream: Upstream
    lifecycle: Lifecycle
    transactions: TransactionBook
    subscriptions: SubscriptionBook


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
    service.subscriptions.end_all()
    waits = [asyncio.ensure_future(wait) for wait in (_finish_work(service), force.wait())]
    await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    service.transactions.end_all()
    service.upstream.cancel_running(Draining)
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            await lifecycle.idle.wait()


async def _finish_work(service: Service) -> None:
    """Wait until nothing is in hand; between its requests an open transaction is."""
    idle, none_open = service.lifecycle.idle, service.transactions.none_open
    while not (idle.is_set() and none_open.is_set()):
        await idle.wait()
        await none_open.wait()


@asynccontextmanager
async def run_service(settings: Settings) -> AsyncIterator[Service]:
    """Open operations listener, upstream and query listener; close them in reverse order."""
    if IMPLEMENTATION == "python":
        _log.warning("rows are encoded in Python, many times slower: no compiler at installation")
    counters = Counters()
    upstream = Upstream(settings, counters.count)
    transactions = TransactionBook(upstream, _held_limit(settings), counters.count)
    lifecycle = Lifecycle(started_at=asyncio.get_running_loop().time())
    lifecycle.idle.set()
    schemas = SchemaReader(upstream, counters.count)
    subscriptions = SubscriptionBook(settings, upstream, counters.count)
    saved = SavedFolder(settings.sql.named_dir, settings.limits.sql_bytes, counters.count)
    parts = Parts(
        settings, counters, upstream, lifecycle, transactions, saved, schemas, subscriptions
    )
    applications = Applications(parts)
    operations, queries = applications.build_operations(), applications.build_queries()
    address = settings.http.unix_socket or (settings.http.host, settings.http.port)
    async with (
        saved.watch(settings.sql.reload_s),
        listen(operations, (settings.ops.host, settings.ops.port)) as operations_url,
    ):
        try:
            await upstream.start()
            async with listen(queries, address, applications.make_express) as url:
                yield Service(url, operations_url, upstream, lifecycle, transactions, subscriptions)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await schemas.close()
                    await transactions.close()
                    await upstream.close()


def _held_limit(settings: Settings) -> int:
    """How many connections open transactions may hold."""
    share = (settings.pool.size + settings.pool.overflow) * settings.limits.held_share
    return max(1, int(share))
