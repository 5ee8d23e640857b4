"""The two aiohttp applications, made out of what they share."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from aiohttp import web
from aiohttp.typedefs import Middleware

from proxy.api.express import ExpressParts
from proxy.api.identity import identify_client
from proxy.api.listener import KEEPALIVE_S, OpenProtocol
from proxy.api.middleware import follow_request, refuse_while_draining
from proxy.api.raw_sql import refuse_raw_sql
from proxy.api.register import REGISTER, Register
from proxy.api.routes import OPERATIONS_ROUTES, QUERY_ROUTES
from proxy.auth.tokens import TokenFolder
from proxy.keys import (
    COUNTERS,
    LIFECYCLE,
    LIMITS,
    LOGINS,
    SAVED,
    SETTINGS,
    STREAM_LIMITS,
    TOKENS,
    Lifecycle,
)
from proxy.query.logins import Logins
from proxy.query.models import QueryLimits
from proxy.query.saved_folder import SavedFolder
from proxy.settings import Settings
from proxy.stats.counters import Counters


@dataclass(frozen=True, slots=True)
class Parts:
    """What both listeners share."""

    settings: Settings
    counters: Counters
    logins: Logins
    lifecycle: Lifecycle
    tokens: TokenFolder
    saved: SavedFolder


class Applications:
    """Makes the applications out of what they share."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._limits = _query_limits(parts.settings)
        has_log = parts.settings.log.access
        self._register = Register(parts.lifecycle, parts.counters, has_log=has_log)

    def build_operations(self) -> web.Application:
        """Make the application for probes and statistics."""
        return self._build((follow_request,), OPERATIONS_ROUTES)

    def build_queries(self) -> web.Application:
        """Make the application of the query API."""
        guards = () if self._parts.settings.sql.mode == "any" else (refuse_raw_sql,)
        gates = (follow_request, identify_client, refuse_while_draining)
        return self._build((*gates, *guards), QUERY_ROUTES)

    def _build(
        self, middlewares: tuple[Middleware, ...], routes: tuple[web.RouteDef, ...]
    ) -> web.Application:
        parts, settings = self._parts, self._parts.settings
        app = web.Application(middlewares=middlewares, client_max_size=settings.limits.body_bytes)
        app[SETTINGS], app[LIFECYCLE], app[COUNTERS] = settings, parts.lifecycle, parts.counters
        app[REGISTER] = self._register
        app[LIMITS], app[STREAM_LIMITS] = self._limits, _stream_limits(settings)
        app[LOGINS], app[TOKENS], app[SAVED] = parts.logins, parts.tokens, parts.saved
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
            tokens=self._parts.tokens,
            logins=self._parts.logins,
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
