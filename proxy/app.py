"""Wiring: settings in, two listeners out, and their life from start to drain."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import uvloop
from aiohttp import web

from proxy.api.middleware import follow_request, refuse_while_draining
from proxy.api.routes import OPERATIONS_ROUTES, QUERY_ROUTES
from proxy.encoders.stitcher import IMPLEMENTATION
from proxy.engine.upstream import Upstream
from proxy.errors import Draining, ProxyError
from proxy.keys import (
    COPIES,
    COUNTERS,
    LIFECYCLE,
    LIMITS,
    RUNNER,
    SETTINGS,
    STREAM_LIMITS,
    STREAMS,
    TRANSACTIONS,
    UPSTREAM,
    Lifecycle,
)
from proxy.query.copy import CopyRunner
from proxy.query.execute import QueryRunner
from proxy.query.models import QueryLimits
from proxy.query.stream import StreamRunner
from proxy.query.transaction_book import TransactionBook
from proxy.settings import Settings
from proxy.stats.counters import Counters

KEEPALIVE_S = 75.0
BACKLOG = 1024  # connections that may wait to be accepted
SOCKET_MODE = 0o660
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

    def build(middlewares: tuple[object, ...], routes: tuple[web.RouteDef, ...]) -> web.Application:
        app = web.Application(
            middlewares=middlewares,  # type: ignore[arg-type]  # aiohttp's alias is private
            client_max_size=settings.limits.body_bytes,
        )
        app[SETTINGS] = settings
        app[LIMITS], app[STREAM_LIMITS] = _query_limits(settings), _stream_limits(settings)
        app[UPSTREAM], app[COUNTERS], app[LIFECYCLE] = upstream, counters, lifecycle
        app[RUNNER], app[TRANSACTIONS] = QueryRunner(upstream), transactions
        app[STREAMS] = StreamRunner(upstream, counters.count)
        app[COPIES] = CopyRunner(upstream, settings.limits.body_bytes)
        app.add_routes(routes)
        return app

    operations = build((follow_request,), OPERATIONS_ROUTES)
    queries = build((follow_request, refuse_while_draining), QUERY_ROUTES)
    async with _listen(operations, settings.ops.host, settings.ops.port) as operations_url:
        try:
            await upstream.start()
            async with _listen(
                queries, settings.http.host, settings.http.port, settings.http.unix_socket
            ) as url:
                yield Service(url, operations_url, upstream, lifecycle, transactions)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await transactions.close()
                    await upstream.close()


def _held_limit(settings: Settings) -> int:
    """How many connections open transactions may hold."""
    share = (settings.pool.size + settings.pool.overflow) * settings.limits.held_share
    return max(1, int(share))


def _query_limits(settings: Settings) -> QueryLimits:
    limits = settings.limits
    return QueryLimits(
        rows=limits.rows,
        bytes=limits.bytes,
        timeout_s=limits.timeout_s,
        timeout_max_s=limits.timeout_max_s,
        sql_bytes=limits.sql_bytes,
        allowed_settings=settings.session.allowed_settings,
        allowed_roles=settings.session.allowed_roles,
    )


def _stream_limits(settings: Settings) -> QueryLimits:
    """A stream has a deadline of its own, and as many rows and bytes as there are."""
    timeout_s = settings.limits.stream_timeout_s
    return replace(
        _query_limits(settings),
        rows=sys.maxsize,
        bytes=sys.maxsize,
        timeout_s=timeout_s,
        timeout_max_s=timeout_s,
    )


@asynccontextmanager
async def _listen(
    app: web.Application, host: str, port: int, unix_socket: Path | None = None
) -> AsyncIterator[str]:
    """Serve `app` on an address; yields its URL, or the socket's path."""
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        handler_cancellation=True,  # a client that goes away cancels its statement
        shutdown_timeout=0.1,  # what was worth waiting for, the drain has waited for
        auto_decompress=False,
    )
    listener = bind(unix_socket or (host, port))
    await runner.setup()
    try:
        await web.SockSite(runner, listener, backlog=BACKLOG).start()
        yield str(unix_socket) if unix_socket else _url(listener)
    finally:
        await runner.cleanup()


def bind(address: Path | tuple[str, int]) -> socket.socket:
    """Bind a listener: a unix socket for owner and group, or a TCP port.

    Raises:
        ProxyError: the address is taken, or isn't one of this machine.
    """
    try:
        return _bind_unix(address) if isinstance(address, Path) else _bind_tcp(*address)
    except OSError as cause:
        where = address if isinstance(address, Path) else f"{address[0]}:{address[1]}"
        raise ProxyError(f"cannot listen on {where}: {cause.strerror}") from cause


def _bind_unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # a killed process leaves it
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(SOCKET_MODE)
    return listener


def _bind_tcp(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def _url(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
