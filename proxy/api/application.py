"""The two aiohttp applications, made out of what they share."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Middleware

from proxy.api.express import ExpressParts
from proxy.api.identity import identify_client, identify_operator
from proxy.api.listener import KEEPALIVE_S, OpenProtocol
from proxy.api.middleware import follow_request, refuse_while_draining
from proxy.api.openapi import OPENAPI, OpenApi
from proxy.api.origin import ORIGINS, OriginRule, add_headers, check_origin
from proxy.api.raw_sql import refuse_raw_sql
from proxy.api.register import REGISTER, Register
from proxy.api.routes import OPERATIONS_ROUTES, QUERY_ROUTES
from proxy.auth.authenticator import Authenticator
from proxy.keys import (
    AUTHENTICATOR,
    COUNTERS,
    LIFECYCLE,
    LOGINS,
    POLICIES,
    SAVED,
    SETTINGS,
    Lifecycle,
)
from proxy.query.logins import Logins
from proxy.query.policy import Policies
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
    authenticator: Authenticator
    saved: SavedFolder


class Applications:
    """Makes the applications out of what they share."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        clock = asyncio.get_running_loop().time
        self._policies = Policies(parts.settings, clock)
        self._origins = OriginRule(parts.settings.http)
        self._register = Register(parts.lifecycle, parts.counters, parts.settings)

    def build_operations(self) -> web.Application:
        """Make the application for probes and statistics."""
        return self._build((follow_request, check_origin, identify_operator), OPERATIONS_ROUTES)

    def build_queries(self) -> web.Application:
        """Make the application of the query API."""
        guards = () if self._parts.settings.sql.mode == "any" else (refuse_raw_sql,)
        gates = (follow_request, check_origin, identify_client, refuse_while_draining)
        app = self._build((*gates, *guards), QUERY_ROUTES)
        app[OPENAPI] = OpenApi(self._parts.settings, QUERY_ROUTES, OPERATIONS_ROUTES)
        return app

    def _build(
        self, middlewares: tuple[Middleware, ...], routes: tuple[web.RouteDef, ...]
    ) -> web.Application:
        parts, settings = self._parts, self._parts.settings
        app = web.Application(middlewares=middlewares, client_max_size=settings.limits.body_bytes)
        app[SETTINGS], app[LIFECYCLE], app[COUNTERS] = settings, parts.lifecycle, parts.counters
        app[REGISTER] = self._register
        app[POLICIES], app[ORIGINS] = self._policies, self._origins
        app[LOGINS], app[AUTHENTICATOR], app[SAVED] = parts.logins, parts.authenticator, parts.saved
        app.on_response_prepare.append(add_headers)
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
            authenticator=self._parts.authenticator,
            logins=self._parts.logins,
            register=self._register,
            lifecycle=self._parts.lifecycle,
            policies=self._policies,
            origins=self._origins,
            max_body_bytes=self._parts.settings.limits.body_bytes,
            keepalive_s=KEEPALIVE_S,
            open_other=open_other,
            connections=set(),
        )
