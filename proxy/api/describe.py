"""POST /v1/describe"""

from aiohttp import web

from proxy.api.body import read_body
from proxy.errors import UnsupportedMediaType
from proxy.keys import EXCHANGE, LOGIN, POLICY
from proxy.query.describe import parse_describe_body, to_inquiry


async def post_describe(request: web.Request) -> web.Response:
    """Say what a statement takes and returns; it isn't run."""
    exchange = request[EXCHANGE]
    if request.content_type != "application/json":
        raise UnsupportedMediaType("send a JSON object with Content-Type: application/json")
    body = parse_describe_body(await read_body(request))
    inquiry = to_inquiry(body, request[POLICY].limits)
    deadline = exchange.set_deadline(inquiry.query.timeout_s, inquiry.query)
    answer = await request[LOGIN].describer.run(inquiry, deadline)
    exchange.queue_s, exchange.db_s = answer.queue_s, answer.db_s
    return web.Response(body=answer.body, content_type="application/json")
