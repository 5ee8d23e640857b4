"""Wiring: settings in, two listeners out, and their life from start to drain."""

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import uvloop
from aiohttp import web
from aiohttp.typedefs import Middleware

from proxy.api.express import ExpressParts
from proxy.api.listener import KEEPALIVE_S, listen
from proxy.api.middleware import follow_request, refuse_while_draining
from proxy.api.register import REGISTER, Register
from proxy.api.routes import OPERATIONS_ROUTES, QUERY_ROUTES
from proxy.encoders.stitcher import IMPLEMENTATION
from proxy.engine.upstream import Upstream
from proxy.errors import Draining
from proxy.keys import (
    COPIES,
    COUNTERS,
    LIFECYCLE,
    LIMITS,
    RUNNER,
    SETTINGS,
    STREAM_LIMITS,
    STREAMS,
    UPSTREAM,
    Lifecycle,
)
from proxy.query.copy import CopyRunner
from proxy.query.execute import QueryRunner
from proxy.query.models import QueryLimits
from proxy.query.stream import StreamRunner
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
    """Refuse new requests and wait for the running ones; at the limit, or by `force`, cancel."""
    lifecycle = service.lifecycle
    _log.info("draining", extra={"fields": {"running": len(lifecycle.running)}})
    lifecycle.is_draining = True
    waits = [asyncio.ensure_future(event.wait()) for event in (lifecycle.idle, force)]
    await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    service.upstream.cancel_running(Draining)
    with suppress(TimeoutError):
        async with asyncio.timeout(ANSWER_S):
            await lifecycle.idle.wait()


@asynccontextmanager
async def run_service(settings: Settings) -> AsyncIterator[Service]:
    """Open operations listener, upstream and query listener; close them in reverse order."""
    if IMPLEMENTATION == "python":
        _log.warning("rows are encoded in Python, many times slower: no compiler at installation")
    counters = Counters()
    upstream = Upstream(settings, counters.count)
    lifecycle = Lifecycle(started_at=asyncio.get_running_loop().time())
    lifecycle.idle.set()
    apps = _Apps(settings, counters, upstream, lifecycle)
    operations = apps.build((follow_request,), OPERATIONS_ROUTES)
    queries = apps.build((follow_request, refuse_while_draining), QUERY_ROUTES)
    express = apps.make_express if settings.http.express else None
    address = settings.http.unix_socket or (settings.http.host, settings.http.port)
    async with listen(operations, (settings.ops.host, settings.ops.port)) as operations_url:
        try:
            await upstream.start()
            async with listen(queries, address, express) as url:
                yield Service(url, operations_url, upstream, lifecycle)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await upstream.close()


class _Apps:
    """Makes the applications out of what they share."""

    def __init__(
        self, settings: Settings, counters: Counters, upstream: Upstream, lifecycle: Lifecycle
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._upstream = upstream
        self._lifecycle = lifecycle
        self._limits = _query_limits(settings)
        self._runner = QueryRunner(upstream)
        self._register = Register(lifecycle, counters, has_log=settings.log.access)

    def build(
        self, middlewares: tuple[Middleware, ...], routes: tuple[web.RouteDef, ...]
    ) -> web.Application:
        """Make the application of one listener."""
        settings, upstream = self._settings, self._upstream
        app = web.Application(middlewares=middlewares, client_max_size=settings.limits.body_bytes)
        app[SETTINGS] = settings
        app[LIMITS], app[STREAM_LIMITS] = self._limits, _stream_limits(settings)
        app[UPSTREAM], app[COUNTERS], app[LIFECYCLE] = upstream, self._counters, self._lifecycle
        app[RUNNER], app[REGISTER] = self._runner, self._register
        app[STREAMS] = StreamRunner(upstream, self._counters.count)
        app[COPIES] = CopyRunner(upstream, settings.limits.body_bytes)
        app.add_routes(routes)
        return app

    def make_express(self, open_other: Callable[[], asyncio.Protocol]) -> ExpressParts:
        """Make what the short way shares with the application."""
        return ExpressParts(
            runner=self._runner,
            register=self._register,
            lifecycle=self._lifecycle,
            limits=self._limits,
            max_body_bytes=self._settings.limits.body_bytes,
            keepalive_s=KEEPALIVE_S,
            open_other=open_other,
            connections=set(),
        )


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
