"""The two aiohttp applications, made out of what they share."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from aiohttp import web
from aiohttp.typedefs import Middleware

from proxy.api.express import ExpressParts
from proxy.api.listener import KEEPALIVE_S, OpenProtocol
from proxy.api.middleware import follow_request, refuse_while_draining
from proxy.api.openapi import OPENAPI, OpenApi
from proxy.api.raw_sql import refuse_raw_sql
from proxy.api.register import REGISTER, Register
from proxy.api.routes import OPERATIONS_ROUTES, QUERY_ROUTES
from proxy.engine.schema import SchemaReader
from proxy.engine.subscription import SubscriptionBook
from proxy.engine.upstream import Upstream
from proxy.keys import (
    BATCHES,
    COPIES,
    COUNTERS,
    DESCRIBER,
    LIFECYCLE,
    LIMITS,
    RUNNER,
    SAVED,
    SCHEMAS,
    SETTINGS,
    STREAM_LIMITS,
    STREAMS,
    SUBSCRIPTIONS,
    TRANSACTIONS,
    UPSTREAM,
    Lifecycle,
)
from proxy.query.batch import BatchRunner
from proxy.query.copy import CopyRunner
from proxy.query.describe import DescribeRunner
from proxy.query.execute import QueryRunner
from proxy.query.models import QueryLimits
from proxy.query.saved_folder import SavedFolder
from proxy.query.stream import StreamRunner
from proxy.query.transaction_book import TransactionBook
from proxy.settings import Settings
from proxy.stats.counters import Counters


@dataclass(frozen=True, slots=True)
class Parts:
    """What both listeners share."""

    settings: Settings
    counters: Counters
    upstream: Upstream
    lifecycle: Lifecycle
    transactions: TransactionBook
    saved: SavedFolder
    schemas: SchemaReader
    subscriptions: SubscriptionBook


class Applications:
    """Makes the applications out of what they share."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._limits = _query_limits(parts.settings)
        self._runner = QueryRunner(parts.upstream)
        has_log = parts.settings.log.access
        self._register = Register(parts.lifecycle, parts.counters, has_log=has_log)

    def build_operations(self) -> web.Application:
        """Make the application for probes and statistics."""
        return self._build((follow_request,), OPERATIONS_ROUTES)

    def build_queries(self) -> web.Application:
        """Make the application of the query API."""
        guards = () if self._parts.settings.sql.mode == "any" else (refuse_raw_sql,)
        app = self._build((follow_request, refuse_while_draining, *guards), QUERY_ROUTES)
        app[OPENAPI] = OpenApi(self._parts.settings, QUERY_ROUTES, OPERATIONS_ROUTES)
        return app

    def _build(
        self, middlewares: tuple[Middleware, ...], routes: tuple[web.RouteDef, ...]
    ) -> web.Application:
        parts, settings, upstream = self._parts, self._parts.settings, self._parts.upstream
        app = web.Application(middlewares=middlewares, client_max_size=settings.limits.body_bytes)
        app[SETTINGS], app[UPSTREAM], app[LIFECYCLE] = settings, upstream, parts.lifecycle
        app[COUNTERS], app[REGISTER] = parts.counters, self._register
        app[LIMITS], app[STREAM_LIMITS] = self._limits, _stream_limits(settings)
        app[RUNNER], app[TRANSACTIONS] = self._runner, parts.transactions
        app[STREAMS] = StreamRunner(upstream, parts.counters.count)
        app[BATCHES] = BatchRunner(
            upstream, self._runner, settings.limits.batch_parallel, parts.counters.count
        )
        app[COPIES] = CopyRunner(upstream, settings.limits.body_bytes)
        app[SAVED], app[SCHEMAS] = parts.saved, parts.schemas
        app[SUBSCRIPTIONS] = parts.subscriptions
        app[DESCRIBER] = DescribeRunner(upstream)
        app.add_routes(routes)
        return app

    @property
    def make_express(self) -> Callable[[OpenProtocol], ExpressParts] | None:
        """What makes the short way beside the application; None where there's none."""
        settings = self._parts.settings
        has_express = settings.http.express and settings.sql.mode == "any"
        return self._make_express if has_express else None

    def _make_express(self, open_other: OpenProtocol) -> ExpressParts:
        return ExpressParts(
            runner=self._runner,
            register=self._register,
            lifecycle=self._parts.lifecycle,
            limits=self._limits,
            max_body_bytes=self._parts.settings.limits.body_bytes,
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
        allow_claims=settings.session.allow_claims,
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
