"""GET /v1/queries, DELETE /v1/queries/{id}"""

import asyncio

import orjson
from aiohttp import web

from proxy.api.timing import to_ms
from proxy.errors import NotFound, QueryCanceled
from proxy.keys import EXCHANGE, LIFECYCLE, LOGIN, SETTINGS, Exchange
from proxy.query.params import SHOWN_NAME

SQL_CHARACTERS = 120


async def get_queries(request: web.Request) -> web.Response:
    """List the client's requests that wait for the upstream, or run there."""
    phases = request[LOGIN].upstream.connected.lanes.list_phases()
    has_sql = request.app[SETTINGS].sql.show_running
    queries = [
        _describe(each, phase, has_sql=has_sql)
        for each in request.app[LIFECYCLE].running.values()
        if each.client == request[EXCHANGE].client
        and each.deadline is not None
        and (phase := phases.get(each.deadline))
    ]
    return web.Response(body=orjson.dumps({"queries": queries}), content_type="application/json")


async def delete_query(request: web.Request) -> web.Response:
    """Cancel what a request of the same client waits for or runs; it gets the error itself."""
    request_id = request.match_info["id"]
    exchange = request.app[LIFECYCLE].running.get(request_id)
    is_own = exchange is not None and exchange.client == request[EXCHANGE].client
    deadline = exchange.deadline if exchange is not None and is_own else None
    lanes = request[LOGIN].upstream.connected.lanes
    if deadline is None or not lanes.cancel_request(deadline, QueryCanceled):
        raise NotFound("no statement of a request with this id is running")
    body = orjson.dumps({"id": request_id})
    return web.Response(status=202, body=body, content_type="application/json")


def _describe(exchange: Exchange, phase: str, *, has_sql: bool) -> dict[str, object]:
    """Describe a request by what holds no secret; the first word is all that is told of its SQL."""
    age_s = asyncio.get_running_loop().time() - exchange.started_at
    query = exchange.query
    sql = query.sql.decode()[:SQL_CHARACTERS] if query is not None else None
    return {
        "id": exchange.request_id,
        "route": exchange.route,
        "age_ms": to_ms(age_s),
        "phase": "stream" if exchange.row_count is not None else phase,
        "rows": exchange.row_count,
        "keyword": query.statement.keyword[:SHOWN_NAME] if query is not None else None,
        "tag": exchange.tag,
        **({"sql": sql} if has_sql else {}),
    }
