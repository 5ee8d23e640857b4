"""Errors as RFC 9457 problem documents: docs/reference/errors.md."""

import logging
from math import ceil

import orjson
from aiohttp import web

from proxy.errors import ProxyError, Unauthorized
from proxy.keys import EXCHANGE, Exchange

CONTENT_TYPE = "application/problem+json"
TYPE_PREFIX = "https://pgsidecar.dev/errors#"
_MEMBERS = (
    "sqlstate",
    "severity",
    "pg_detail",
    "hint",
    "position",
    "schema",
    "table",
    "column",
    "constraint",
    "line",
)
_CONSTRAINTS = "23"  # class of SQLSTATEs
_log = logging.getLogger("pgsidecar.request")


def problem_response(request: web.Request, error: ProxyError) -> web.Response:
    """Make the answer to a request that failed."""
    response = web.Response(
        status=error.status,
        body=build_problem(request.path, request[EXCHANGE], error),
        content_type=CONTENT_TYPE,
    )
    response.headers.update(list_remedies(error))
    return response


def list_remedies(error: ProxyError) -> dict[str, str]:
    """List the headers that say what to do: when to try again, which methods, how to log in."""
    headers = {}
    if error.retry_after_ms is not None:
        headers["Retry-After"] = str(ceil(error.retry_after_ms / 1000))
    if "allow" in error.context:
        headers["Allow"] = str(error.context["allow"])
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = "Bearer"
    return headers


def describe_bug(request_id: str) -> ProxyError:
    """Log the exception that nobody expected, and make its error."""
    fields = {"request_id": request_id}
    _log.exception("a request failed unexpectedly", extra={"fields": fields})
    detail = "an internal error; the service's log has more under this request_id"
    return ProxyError(detail, executed="unknown")


def build_problem(path: str, exchange: Exchange, error: ProxyError) -> bytes:
    """Build the problem document; the detail of a violated constraint quotes values of a row."""
    context = error.context
    if not exchange.has_details and str(context.get("sqlstate")).startswith(_CONSTRAINTS):
        context = {name: value for name, value in context.items() if name != "pg_detail"}
    problem = {
        "type": TYPE_PREFIX + error.code,
        "title": error.code,
        "status": error.status,
        "detail": error.detail,
        "instance": path,
        "request_id": exchange.request_id,
        **{member: context.get(member) for member in _MEMBERS},
        "phase": error.phase,
        "executed": error.executed,
        "retryable": error.retryable,
        "retry_after_ms": error.retry_after_ms,
        "statement_index": context.get("statement_index"),
    }
    return orjson.dumps(problem)
