"""The two aiohttp applications, made out of what they share."""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import replace

from aiohttp import web
from aiohttp.typedefs import Middleware

from proxy.api.express import ExpressParts
from proxy.api.listener import KEEPALIVE_S
from proxy.api.middleware import follow_request, refuse_while_draining
from proxy.api.register import REGISTER, Register
from proxy.api.routes import OPERATIONS_ROUTES, QUERY_ROUTES
from proxy.engine.upstream import Upstream
from proxy.keys import (
    BATCHES,
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
from proxy.query.batch import BatchRunner
from proxy.query.copy import CopyRunner
from proxy.query.execute import QueryRunner
from proxy.query.models import QueryLimits
from proxy.query.stream import StreamRunner
from proxy.query.transaction_book import TransactionBook
from proxy.settings import Settings
from proxy.stats.counters import Counters


class Applications:
    """Makes the applications out of what they share."""

    def __init__(
        self,
        settings: Settings,
        counters: Counters,
        upstream: Upstream,
        lifecycle: Lifecycle,
        transactions: TransactionBook,
    ) -> None:
        self._settings = settings
        self._counters = counters
        self._upstream = upstream
        self._lifecycle = lifecycle
        self._transactions = transactions
        self._limits = _query_limits(settings)
        self._runner = QueryRunner(upstream)
        self._register = Register(lifecycle, counters, has_log=settings.log.access)

    def build_operations(self) -> web.Application:
        """Make the application for probes and statistics."""
        return self._build((follow_request,), OPERATIONS_ROUTES)

    def build_queries(self) -> web.Application:
        """Make the application of the query API."""
        return self._build((follow_request, refuse_while_draining), QUERY_ROUTES)

    def _build(
        self, middlewares: tuple[Middleware, ...], routes: tuple[web.RouteDef, ...]
    ) -> web.Application:
        settings, upstream = self._settings, self._upstream
        app = web.Application(middlewares=middlewares, client_max_size=settings.limits.body_bytes)
        app[SETTINGS] = settings
        app[LIMITS], app[STREAM_LIMITS] = self._limits, _stream_limits(settings)
        app[UPSTREAM], app[COUNTERS], app[LIFECYCLE] = upstream, self._counters, self._lifecycle
        app[RUNNER], app[REGISTER] = self._runner, self._register
        app[TRANSACTIONS] = self._transactions
        app[STREAMS] = StreamRunner(upstream, self._counters.count)
        app[BATCHES] = BatchRunner(upstream, self._runner, settings.limits.batch_parallel)
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
