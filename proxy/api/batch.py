"""POST /v1/batch"""

from collections.abc import Sequence
from dataclasses import asdict

import orjson
from aiohttp import web

from proxy.api.body import read_json
from proxy.api.problem import build_problem
from proxy.errors import ProxyError
from proxy.keys import EXCHANGE, LOGIN, POLICY, SETTINGS
from proxy.query.batch_body import parse_batch, to_batch
from proxy.query.batch_series import BatchAnswer


async def post_batch(request: web.Request) -> web.Response:
    """Run several statements, in one flight or each on its own."""
    exchange = request[EXCHANGE]
    max_statements = request.app[SETTINGS].limits.batch_statements
    batch = to_batch(parse_batch(await read_json(request)), request[POLICY].limits, max_statements)
    deadline = exchange.set_deadline(batch.first.timeout_s, batch.first)
    return answer_batch(request, await request[LOGIN].batches.run(batch, deadline))


def answer_batch(request: web.Request, answer: BatchAnswer) -> web.Response:
    """Answer with the results of a batch, in the order of its statements."""
    exchange = request[EXCHANGE]
    exchange.queue_s, exchange.db_s = answer.queue_s, answer.db_s
    exchange.row_count = answer.row_count
    tail = {
        "notices": [asdict(notice) for notice in answer.notices],
        "elapsed_ms": int(answer.db_s * 1e6) / 1000,
    }
    results = b",".join(_list_results(request, answer.results))
    body = b'{"results":[' + results + b"]," + orjson.dumps(tail)[1:]
    return web.Response(body=body, content_type="application/json")


def _list_results(request: web.Request, results: Sequence[bytes | ProxyError]) -> list[bytes]:
    exchange = request[EXCHANGE]
    return [
        result
        if isinstance(result, bytes)
        else b'{"error":' + build_problem(request.path, exchange, result) + b"}"
        for result in results
    ]
