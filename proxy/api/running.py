"""GET /v1/queries, DELETE /v1/queries/{id}"""

import asyncio

import orjson
from aiohttp import web

from proxy.api.timing import to_ms
from proxy.errors import NotFound, QueryCanceled
from proxy.keys import LIFECYCLE, UPSTREAM


async def get_queries(request: web.Request) -> web.Response:
    """List the requests that wait for the upstream, or run there; never their SQL."""
    lanes = request.app[UPSTREAM].connected.lanes
    now = asyncio.get_running_loop().time()
    queries = [
        {
            "id": each.request_id,
            "route": each.route,
            "age_ms": to_ms(now - each.started_at),
            "phase": phase,
        }
        for each in request.app[LIFECYCLE].running.values()
        if each.deadline is not None and (phase := lanes.find_phase(each.deadline))
    ]
    return web.Response(body=orjson.dumps({"queries": queries}), content_type="application/json")


async def delete_query(request: web.Request) -> web.Response:
    """Cancel what a request waits for or runs; it gets the error itself."""
    request_id = request.match_info["id"]
    exchange = request.app[LIFECYCLE].running.get(request_id)
    deadline = exchange.deadline if exchange is not None else None
    lanes = request.app[UPSTREAM].connected.lanes
    if deadline is None or not lanes.cancel_request(deadline, QueryCanceled):
        raise NotFound("no statement of a request with this id is running")
    return web.Response(
        status=202, body=orjson.dumps({"id": request_id}), content_type="application/json"
    )
