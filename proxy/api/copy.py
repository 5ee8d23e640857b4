"""POST /v1/copy/{table}"""

from dataclasses import asdict

import orjson
from aiohttp import web

from proxy.api.body import read_pieces, read_query_string
from proxy.keys import COUNTERS, EXCHANGE, LOGIN, POLICY
from proxy.query.copy_order import to_copy_order
from proxy.stats.events import Event


async def leave_body(_request: web.Request) -> None:
    """Let a client that asks wait with its body until it's wanted; `read_pieces` tells it."""


async def post_copy(request: web.Request) -> web.Response:
    """Load the body into a table, all or nothing."""
    exchange = request[EXCHANGE]
    order = to_copy_order(
        request.match_info["table"],
        request.content_type,
        read_query_string(request),
        request[POLICY].stream_limits,
    )
    deadline = exchange.set_deadline(order.timeout_s)
    answer = await request[LOGIN].copies.run(order, read_pieces(request), deadline)
    exchange.queue_s, exchange.db_s = answer.queue_s, answer.db_s
    request.app[COUNTERS].count(Event.ROWS_LOADED, answer.row_count)
    document = {
        "row_count": answer.row_count,
        "command": "COPY",
        "notices": [asdict(notice) for notice in answer.notices],
        "elapsed_ms": round(answer.db_s * 1000, 3),
    }
    return web.Response(body=orjson.dumps(document), content_type="application/json")
