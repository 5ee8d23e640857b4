"""GET /v1/listen"""

from collections.abc import Sequence

import orjson
from aiohttp import web

from proxy.api.body import read_query_string
from proxy.api.problem import build_problem
from proxy.api.streamed import StreamedResponse
from proxy.api.timing import list_headers
from proxy.engine.subscription import Notification, Subscription
from proxy.errors import InvalidRequest, ProxyError
from proxy.keys import COUNTERS, EXCHANGE, LOGIN, SETTINGS
from proxy.query.params import SHOWN_NAME, did_you_mean
from proxy.sql.name import quote_name
from proxy.stats.events import Event

HEARTBEAT_S = 15.0
MAX_CHANNELS = 100
OPTIONS = ("channel",)
_BEGIN, _BEAT = b": listening\n\n", b": still listening\n\n"


async def get_listen(request: web.Request) -> web.StreamResponse:
    """Send the notifications of channels as they come: server-sent events."""
    channels = _read_channels(read_query_string(request))
    async with request[LOGIN].subscriptions.open(channels) as subscription:
        return await _answer(request, subscription)


async def _answer(request: web.Request, subscription: Subscription) -> StreamedResponse:
    exchange = request[EXCHANGE]
    stall_s = request.app[SETTINGS].limits.stream_stall_s
    response = StreamedResponse(request, "text/event-stream", stall_s)
    response.headers.update({**list_headers(exchange, {}), "X-Accel-Buffering": "no"})
    try:
        await response.prepare(request)
        await response.send(_BEGIN)
        await _send_all(request, response, subscription)
    except ProxyError as error:
        exchange.error = error
        problem = build_problem(request.path, exchange, error)
        await response.end_with(_write("error", problem))
    except ConnectionError:
        exchange.is_client_gone = True
        response.break_off()
    finally:
        exchange.body_bytes = response.sent_bytes
    return response


async def _send_all(
    request: web.Request, response: StreamedResponse, subscription: Subscription
) -> None:
    """Send until the subscription raises why it ends."""
    counters = request.app[COUNTERS]
    while True:
        heard = await subscription.take(HEARTBEAT_S)
        if not heard:
            await subscription.check()
        await response.send(b"".join(map(_write_notification, heard)) or _BEAT)
        for _ in heard:
            counters.count(Event.NOTIFICATION_SENT)


def _write_notification(heard: Notification) -> bytes:
    return _write("notification", orjson.dumps(heard._asdict()))


def _write(event: str, document: bytes) -> bytes:
    """Write an event; a document of JSON is one line."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), document)


def _read_channels(pairs: Sequence[tuple[str, str]]) -> Sequence[str]:
    for name, channel in pairs:
        if name not in OPTIONS:
            hint = did_you_mean(name, OPTIONS)
            raise InvalidRequest(f"unknown query parameter '{name[:SHOWN_NAME]}'{hint}")
        try:
            quote_name(channel)
        except ValueError as cause:
            raise InvalidRequest(f"channel: {cause}") from cause
    channels = tuple(dict.fromkeys(channel for _, channel in pairs))
    if not 0 < len(channels) <= MAX_CHANNELS:
        raise InvalidRequest(f"say 1 to {MAX_CHANNELS} channels: ?channel=orders&channel=users")
    return channels
