"""Errors as RFC 9457 problem documents: docs/reference/errors.md."""

from math import ceil

import orjson
from aiohttp import web

from proxy.errors import ProxyError
from proxy.keys import EXCHANGE

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


def problem_response(request: web.Request, error: ProxyError) -> web.Response:
    """Make the answer to a request that failed."""
    response = web.Response(
        status=error.status, body=build_problem(request, error), content_type=CONTENT_TYPE
    )
    if error.retry_after_ms is not None:
        response.headers["Retry-After"] = str(ceil(error.retry_after_ms / 1000))
    allow = error.context.get("allow")
    if allow is not None:
        response.headers["Allow"] = str(allow)
    return response


def build_problem(request: web.Request, error: ProxyError) -> bytes:
    """Build the problem document."""
    context = error.context
    problem = {
        "type": TYPE_PREFIX + error.code,
        "title": error.code,
        "status": error.status,
        "detail": error.detail,
        "instance": request.path,
        "request_id": request[EXCHANGE].request_id,
        **{member: context.get(member) for member in _MEMBERS},
        "phase": error.phase,
        "executed": error.executed,
        "retryable": error.retryable,
        "retry_after_ms": error.retry_after_ms,
        "statement_index": context.get("statement_index"),
    }
    return orjson.dumps(problem)
