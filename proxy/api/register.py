"""What is kept of every request, however it came in: its id, its place in the drain, its line."""

import asyncio
import re
from collections.abc import Mapping
from random import getrandbits
from time import perf_counter
from typing import NamedTuple

from aiohttp import web

from proxy.api.timing import list_timings, to_ms
from proxy.errors import ProxyError
from proxy.keys import Exchange, Lifecycle
from proxy.log import Fields, open_request_log
from proxy.settings import Settings
from proxy.stats.counters import Counters
from proxy.stats.events import Event

_REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_IN_MS = {name: f"{name}_ms" for name in ("queue", "first", "db", "encode", "total")}


class Finished(NamedTuple):
    """How a request was answered."""

    method: str
    status: int
    body_bytes: int
    error: ProxyError | None


class Register:
    """Enters requests, and strikes them out again; counts, times and logs them."""

    def __init__(self, lifecycle: Lifecycle, counters: Counters, settings: Settings) -> None:
        self._lifecycle = lifecycle
        self._counters = counters
        self._count = counters.count
        self._log = open_request_log() if settings.log.access else None
        self._has_details = settings.sql.constraint_details
        self._loop = asyncio.get_running_loop()

    def enter(self, wanted_id: str, route: str) -> Exchange:
        """Begin a request; it gets the id that it wants if it's well-formed and not running.

        `route` is as the table has it; a path from outside would let clients fill the log.
        """
        running = self._lifecycle.running
        request_id = wanted_id
        if not wanted_id or wanted_id in running or _REQUEST_ID.fullmatch(wanted_id) is None:
            request_id = f"{getrandbits(128):032x}"  # no secret, so no system call for it
        exchange = Exchange(request_id, self._loop.time(), perf_counter(), route=route)
        exchange.has_details = self._has_details
        running[request_id] = exchange
        self._lifecycle.idle.clear()
        return exchange

    def finish(self, exchange: Exchange, finished: Finished) -> dict[str, float]:
        """Count and log the answer; returns where the time went, in milliseconds."""
        total_s = perf_counter() - exchange.started_s
        timings = list_timings(exchange)
        timings["total"] = to_ms(total_s)
        count = self._count
        count(Event.REQUEST_FINISHED, total_s)
        if finished.status >= _SERVER_ERROR:
            count(Event.REQUEST_FAILED)
        elif finished.status >= _CLIENT_ERROR:
            count(Event.REQUEST_REJECTED)
        count(Event.BYTES_SENT, finished.body_bytes)
        if exchange.row_count is not None:
            count(Event.ROWS_SENT, exchange.row_count)
        if exchange.tag is not None:
            self._counters.count_tag(exchange.tag, total_s)
        if self._log is not None:
            self._log(_list_fields(exchange, finished, timings))
        return timings

    def leave(self, exchange: Exchange) -> None:
        """End a request, whatever became of it."""
        lifecycle = self._lifecycle
        if exchange.is_client_gone:
            self._count(Event.CLIENT_DISCONNECTED)
        lifecycle.running.pop(exchange.request_id, None)
        if not lifecycle.running:
            lifecycle.idle.set()


REGISTER = web.AppKey("register", Register)


def _list_fields(exchange: Exchange, finished: Finished, timings: Mapping[str, float]) -> Fields:
    """List what a request's line says; never SQL, parameters or rows."""
    fields: dict[str, str | int | float | None] = {
        "request_id": exchange.request_id,
        "method": finished.method,
        "route": exchange.route,
        "status": finished.status,
        "rows": exchange.row_count,
        "bytes": finished.body_bytes,
    }
    if exchange.client is not None:
        fields["client"] = exchange.client
    if exchange.tag is not None:
        fields["tag"] = exchange.tag
    for name, value_ms in timings.items():
        fields[_IN_MS[name]] = value_ms
    error = finished.error
    if error is not None:
        fields |= {"code": error.code, "phase": error.phase, "executed": error.executed}
        fields["sqlstate"] = error.context.get("sqlstate")
    return fields
