"""/v1/transactions: one transaction over several requests."""

import asyncio
from dataclasses import asdict

import orjson
from aiohttp import web

from proxy.api.batch import answer_batch
from proxy.api.body import read_json, read_query
from proxy.api.stream import answer_stream, read_stream_query
from proxy.keys import EXCHANGE, LOGIN, POLICY, SETTINGS
from proxy.query.batch_body import parse_batch
from proxy.query.block import EndCommand
from proxy.query.models import find_timeout_s
from proxy.query.transaction import LEFT, HeldTransaction
from proxy.query.transaction_body import (
    parse_end,
    parse_transaction,
    to_inner_batch,
    to_inner_query,
    to_order,
)


async def post_transaction(request: web.Request) -> web.Response:
    """Begin a transaction."""
    limits = request[POLICY].limits
    body = parse_transaction(await read_json(request))
    order = to_order(body, limits, request.app[SETTINGS].transactions)
    deadline = request[EXCHANGE].set_deadline(limits.timeout_s)
    held = await request[LOGIN].transactions.begin(
        order, deadline, request[EXCHANGE].client, request[POLICY].transactions
    )
    response = _show(held, status=201)
    response.headers["Location"] = f"{request.path}/{held.id}"
    return response


async def get_transaction(request: web.Request) -> web.Response:
    """Tell the state of a transaction; that doesn't make it live longer."""
    return _show(request[LOGIN].transactions.find(*_address(request)))


async def post_transaction_query(request: web.Request) -> web.Response:
    """Run one statement in a transaction; the whole answer comes in one body."""
    exchange = request[EXCHANGE]
    query = to_inner_query(await read_query(request), request[POLICY].limits)
    deadline = exchange.set_deadline(query.timeout_s, query)
    async with request[LOGIN].transactions.use(*_address(request)) as held:
        answer = await request[LOGIN].queries.run_in(
            held.connected, held.connection, query, deadline
        )
    exchange.db_s, exchange.encode_s = answer.db_s, answer.encode_s
    exchange.row_count = answer.row_count
    return web.Response(body=answer.body, content_type="application/json")


async def post_transaction_batch(request: web.Request) -> web.Response:
    """Run several statements in a transaction, in one flight."""
    max_statements = request.app[SETTINGS].limits.batch_statements
    body = parse_batch(await read_json(request))
    batch = to_inner_batch(body, request[POLICY].limits, max_statements)
    deadline = request[EXCHANGE].set_deadline(batch.first.timeout_s, batch.first)
    batches = request[LOGIN].batches
    async with request[LOGIN].transactions.use(*_address(request)) as held:
        answer = await batches.run_in(held.connected, held.connection, batch, deadline)
    return answer_batch(request, answer)


async def post_transaction_stream(request: web.Request) -> web.StreamResponse:
    """Run one statement in a transaction; its rows come as the server sends them."""
    exchange = request[EXCHANGE]
    body, wish = await read_stream_query(request)
    query = to_inner_query(body, request[POLICY].stream_limits)
    deadline = exchange.set_deadline(query.timeout_s, query)
    streams = request[LOGIN].streams
    async with request[LOGIN].transactions.use(*_address(request)) as held:
        async with streams.open_in(held.connected, held.connection, query, deadline) as stream:
            response = await answer_stream(request, stream, wish, deadline)
        if exchange.is_client_gone:
            held.ending = held.ending or LEFT
    return response


async def post_transaction_commit(request: web.Request) -> web.Response:
    """Commit a transaction."""
    return await _end(request, "commit")


async def post_transaction_rollback(request: web.Request) -> web.Response:
    """Roll a transaction back."""
    return await _end(request, "rollback")


async def _end(request: web.Request, command: EndCommand) -> web.Response:
    timeout_s = find_timeout_s(
        parse_end(await read_json(request)).timeout_ms, request[POLICY].limits
    )
    deadline = request[EXCHANGE].set_deadline(timeout_s)
    answer = await request[LOGIN].transactions.end(
        request.match_info["id"], command, deadline, request[EXCHANGE].client
    )
    notices = [asdict(notice) for notice in answer.notices]
    return _json({"command": command.upper(), "notices": notices})


def _address(request: web.Request) -> tuple[str, str | None]:
    """The transaction's id, and whose it must be."""
    return request.match_info["id"], request[EXCHANGE].client


def _show(held: HeldTransaction, status: int = 200) -> web.Response:
    age_s = asyncio.get_running_loop().time() - held.began_at
    document = {
        "id": held.id,
        "state": held.state,
        "age_ms": round(age_s * 1000, 3),
        "idle_timeout_ms": round(held.idle_s * 1000),
        "expires_at": held.expires_on.isoformat(timespec="milliseconds"),
    }
    return _json(document, status)


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")
