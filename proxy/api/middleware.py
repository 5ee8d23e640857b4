"""What every request goes through: an id, a place in the drain, errors, timing, one log line."""

import asyncio
import logging
import re
from random import getrandbits
from time import perf_counter

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.api.problem import problem_response
from proxy.api.timing import list_timings, set_headers
from proxy.errors import Draining, MethodNotAllowed, NotFound, ProxyError
from proxy.keys import COUNTERS, EXCHANGE, LIFECYCLE, SETTINGS, Exchange, Lifecycle
from proxy.stats.events import Event

_REQUEST_ID = re.compile(r"[\w.-]{1,128}", re.ASCII)
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_log = logging.getLogger("pgsidecar.request")


@web.middleware
async def follow_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, turn errors into problems, count, time and log it."""
    lifecycle = request.app[LIFECYCLE]
    request_id = _request_id(request, lifecycle)
    exchange = request[EXCHANGE] = Exchange(
        request_id, asyncio.get_running_loop().time(), perf_counter()
    )
    lifecycle.running.add(request_id)
    lifecycle.idle.clear()
    try:
        response, error = await _answer(request, handler)
        _finish(request, response, error, perf_counter() - exchange.started_s)
    except asyncio.CancelledError:
        exchange.is_client_gone = True
        raise
    finally:
        if exchange.is_client_gone:
            request.app[COUNTERS].count(Event.CLIENT_DISCONNECTED)
        lifecycle.running.discard(request_id)
        if not lifecycle.running:
            lifecycle.idle.set()
    return response


@web.middleware
async def refuse_while_draining(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take no new work once the service shuts down."""
    if request.app[LIFECYCLE].is_draining:
        raise Draining("the service is shutting down")
    return await handler(request)


def _request_id(request: web.Request, lifecycle: Lifecycle) -> str:
    """Take the client's id if it is well-formed and not running; else make one."""
    wanted = request.headers.get("X-Request-Id", "")
    if _REQUEST_ID.fullmatch(wanted) and wanted not in lifecycle.running:
        return wanted
    return f"{getrandbits(128):032x}"  # no secret, so no system call for it


async def _answer(
    request: web.Request, handler: Handler
) -> tuple[web.StreamResponse, ProxyError | None]:
    try:
        return await handler(request), None
    except ProxyError as error:
        return problem_response(request, error), error
    except web.HTTPMethodNotAllowed as cause:
        allowed = ", ".join(sorted(cause.allowed_methods))
        detail = f"{request.path} takes {allowed}, not {request.method}"
        not_allowed = MethodNotAllowed(detail, allow=allowed)
        return problem_response(request, not_allowed), not_allowed
    except web.HTTPNotFound:
        not_found = NotFound(f"there is nothing at {request.path}; see docs/reference/api.md")
        return problem_response(request, not_found), not_found
    except Exception:  # noqa: BLE001  # the outermost place: whatever it is, it becomes a problem
        fields = {"request_id": request[EXCHANGE].request_id}
        _log.exception("a request failed unexpectedly", extra={"fields": fields})
        detail = "an internal error; the service's log has more under this request_id"
        bug = ProxyError(detail, executed="unknown")
        return problem_response(request, bug), bug


def _finish(
    request: web.Request, response: web.StreamResponse, error: ProxyError | None, total_s: float
) -> None:
    exchange, counters = request[EXCHANGE], request.app[COUNTERS]
    timings = {**list_timings(exchange), "total": total_s}
    error = error or exchange.error
    if not response.prepared:
        set_headers(response, exchange, timings)
    counters.count(Event.REQUEST_FINISHED, total_s)
    if response.status >= _SERVER_ERROR:
        counters.count(Event.REQUEST_FAILED)
    elif response.status >= _CLIENT_ERROR:
        counters.count(Event.REQUEST_REJECTED)
    body_bytes = exchange.body_bytes or response.content_length or 0
    counters.count(Event.BYTES_SENT, body_bytes)
    if exchange.row_count is not None:
        counters.count(Event.ROWS_SENT, exchange.row_count)
    if request.app[SETTINGS].log.access:
        _log_line(request, response.status, error, timings, body_bytes)


def _log_line(
    request: web.Request,
    status: int,
    error: ProxyError | None,
    timings: dict[str, float],
    body_bytes: int,
) -> None:
    """Write one line; never SQL, parameters or rows."""
    exchange = request[EXCHANGE]
    fields: dict[str, str | int | float | None] = {
        "request_id": exchange.request_id,
        "method": request.method,
        "route": _route(request),
        "status": status,
        "rows": exchange.row_count,
        "bytes": body_bytes,
        **{f"{name}_ms": round(value * 1000, 3) for name, value in timings.items()},
    }
    if error is not None:
        fields |= {"code": error.code, "phase": error.phase, "executed": error.executed}
        fields["sqlstate"] = error.context.get("sqlstate")
    _log.info("request", extra={"fields": fields})


def _route(request: web.Request) -> str:
    """The route as the table has it; a path from outside would let clients fill the log."""
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
