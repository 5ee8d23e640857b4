"""POST /v1/query"""

from aiohttp import web

from proxy.api.body import read_query
from proxy.engine.deadline import Deadline
from proxy.keys import EXCHANGE, LIMITS, RUNNER
from proxy.query.models import to_query


async def post_query(request: web.Request) -> web.Response:
    """Run one statement; the whole answer comes in one body."""
    exchange = request[EXCHANGE]
    query = to_query(await read_query(request), request.app[LIMITS])
    deadline = Deadline(exchange.started_at + query.timeout_s)
    answer = await request.app[RUNNER].run(query, deadline)
    exchange.note(answer)
    return web.Response(body=answer.body, content_type="application/json")
