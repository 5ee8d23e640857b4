"""POST /v1/query"""

from aiohttp import web

from proxy.api.body import read_query
from proxy.keys import EXCHANGE, LOGIN, POLICY
from proxy.query.execute import QueryAnswer
from proxy.query.models import Query, to_query


async def post_query(request: web.Request) -> web.Response:
    """Run one statement; the whole answer comes in one body."""
    query = to_query(await read_query(request), request[POLICY].limits)
    answer = await run_query(request, query)
    return web.Response(body=answer.body, content_type="application/json")


async def run_query(request: web.Request, query: Query) -> QueryAnswer:
    """Run a query within its request's time, and note how it went."""
    exchange = request[EXCHANGE]
    deadline = exchange.set_deadline(query.timeout_s, query)
    answer = await request[LOGIN].queries.run(query, deadline)
    exchange.note(answer)
    return answer
