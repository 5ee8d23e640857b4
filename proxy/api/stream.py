"""POST /v1/stream"""

from contextlib import aclosing

from aiohttp import HttpVersion11, web

from proxy.api.body import read_stream
from proxy.api.problem import build_problem
from proxy.api.streamed import StreamedResponse
from proxy.api.timing import list_headers, list_timings
from proxy.encoders.stream_format import StreamFormat, StreamWish
from proxy.engine.deadline import Deadline
from proxy.errors import HttpVersionTooOld, ProxyError, RequestTimeout
from proxy.keys import COUNTERS, EXCHANGE, LOGIN, POLICY, SETTINGS
from proxy.query.body import QueryBody
from proxy.query.models import to_query
from proxy.query.stream import RowStream
from proxy.stats.events import Event


async def post_stream(request: web.Request) -> web.StreamResponse:
    """Run one statement; its rows come as the server sends them."""
    exchange = request[EXCHANGE]
    body, wish = await read_stream_query(request)
    query = to_query(body, request[POLICY].stream_limits)
    deadline = exchange.set_deadline(query.timeout_s, query)
    async with request[LOGIN].streams.open(query, deadline) as stream:
        return await answer_stream(request, stream, wish, deadline)


async def read_stream_query(request: web.Request) -> tuple[QueryBody, StreamWish]:
    """Read a query and the format of its stream, which this version of HTTP must be able to end.

    Raises:
        HttpVersionTooOld, and as `read_stream`.
    """
    body, wish = await read_stream(request)
    if not wish.ends_in_band and request.version < HttpVersion11:
        raise HttpVersionTooOld(
            "a failure of this format shows by a chunked body that breaks off, which HTTP/1.0 "
            "doesn't have; use HTTP/1.1, or format=json"
        )
    return body, wish


async def answer_stream(
    request: web.Request, stream: RowStream, wish: StreamWish, deadline: Deadline
) -> StreamedResponse:
    """Send a stream that has begun to its end, or break it off; the exchange tells which."""
    exchange = request[EXCHANGE]
    form = await stream.open_format(wish, exchange.request_id, deadline)
    exchange.queue_s, exchange.first_s = stream.queue_s, stream.first_s
    return await _answer(request, stream, form)


async def _answer(request: web.Request, stream: RowStream, form: StreamFormat) -> StreamedResponse:
    exchange, counters = request[EXCHANGE], request.app[COUNTERS]
    stall_s = request.app[SETTINGS].limits.stream_stall_s
    response = StreamedResponse(request, form.content_type, stall_s)
    response.headers.update(list_headers(exchange, list_timings(exchange)))
    try:
        await response.prepare(request)
        counters.count(Event.STREAM_STARTED)
        await _send(request, response, stream, form)
    except ProxyError as error:
        if error.phase == "execute":
            error.phase = "stream"
        exchange.error = error
        counters.count(Event.STREAM_FAILED)
        if isinstance(error, RequestTimeout):
            counters.count(Event.STREAM_STALLED)
        problem = build_problem(request.path, exchange, error)
        await response.end_with(form.fail(problem, stream.row_count))
    except ConnectionError:
        exchange.is_client_gone = True
        response.break_off()
    finally:
        exchange.row_count, exchange.body_bytes = stream.row_count, response.sent_bytes
    return response


async def _send(
    request: web.Request, response: StreamedResponse, stream: RowStream, form: StreamFormat
) -> None:
    async with aclosing(stream.chunks(form)) as chunks:
        async for chunk in chunks:
            await response.send(chunk)
            request[EXCHANGE].row_count = stream.row_count
    await response.finish()
