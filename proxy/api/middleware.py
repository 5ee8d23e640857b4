"""What every request goes through: the register, a place in the drain, errors as problems."""

import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.api.problem import describe_bug, problem_response
from proxy.api.register import REGISTER, Finished
from proxy.api.timing import list_headers
from proxy.errors import MethodNotAllowed, NotFound, ProxyError
from proxy.keys import EXCHANGE, LIFECYCLE

_OF_WHAT_IS_OPEN = ("/v1/transactions/{id}", "/v1/queries")


@web.middleware
async def follow_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give the request its id, turn errors into problems, count, time and log it."""
    register = request.app[REGISTER]
    exchange = request[EXCHANGE] = register.enter(
        request.headers.get("X-Request-Id", ""), _route(request)
    )
    try:
        response, error = await _answer(request, handler)
        body_bytes = exchange.body_bytes or response.content_length or 0
        error = error or exchange.error
        finished = Finished(request.method, response.status, body_bytes, error)
        timings = register.finish(exchange, finished)
        if not response.prepared:
            response.headers.update(list_headers(exchange, timings))
    except asyncio.CancelledError:
        exchange.is_client_gone = True
        raise
    finally:
        register.leave(exchange)
    return response


@web.middleware
async def refuse_while_draining(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Take no new work once the service shuts down; what is open may come to its end."""
    if not _route(request).startswith(_OF_WHAT_IS_OPEN):
        request.app[LIFECYCLE].check()
    return await handler(request)


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
        bug = describe_bug(request[EXCHANGE].request_id)
        return problem_response(request, bug), bug


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "unknown"
