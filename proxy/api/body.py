"""A request's body, as far as its limits go."""

import asyncio
from collections.abc import AsyncGenerator
from urllib.parse import parse_qsl

from aiohttp import web

from proxy.encoders.stream_format import StreamWish
from proxy.errors import InvalidRequest, RequestTimeout, RequestTooLarge, UnsupportedMediaType
from proxy.keys import SETTINGS
from proxy.query.body import QueryBody, parse_body, parse_text
from proxy.query.params import SHOWN_NAME
from proxy.query.wish import STREAM_OPTIONS, to_wish


async def read_query(request: web.Request) -> QueryBody:
    """Read a query as JSON, or as a bare statement with its parameters in the query string.

    Raises:
        InvalidRequest, RequestTooLarge, RequestTimeout, UnsupportedMediaType
    """
    return await _read(request, read_query_string(request))


async def read_stream(request: web.Request) -> tuple[QueryBody, StreamWish]:
    """Read a query in the same way, with the options of a stream in the query string.

    Raises:
        NotAcceptable, and as `read_query`.
    """
    pairs = read_query_string(request)
    options = {name: value for name, value in pairs if name in STREAM_OPTIONS}
    rest = [(name, value) for name, value in pairs if name not in STREAM_OPTIONS]
    body = await _read(request, rest)
    return body, to_wish(options, request.headers.get("Accept"), body.shape)


async def _read(request: web.Request, query_string: list[tuple[str, str]]) -> QueryBody:
    if request.content_type == "application/sql":
        return parse_text(await read_body(request), query_string)
    if request.content_type != "application/json":
        raise UnsupportedMediaType(
            "send a JSON object with Content-Type: application/json, "
            "or a bare statement with Content-Type: application/sql"
        )
    _refuse_query_string(query_string)
    return parse_body(await read_body(request))


async def read_json(request: web.Request) -> bytes:
    """Read a JSON body, or none.

    Raises:
        UnsupportedMediaType: it is something else; and as `read_query`.
    """
    _refuse_query_string(read_query_string(request))
    data = await read_body(request)
    if data and request.content_type != "application/json":
        raise UnsupportedMediaType("send a JSON object with Content-Type: application/json")
    return data


def _refuse_query_string(pairs: list[tuple[str, str]]) -> None:
    for name, _ in pairs:
        raise InvalidRequest(
            f"'{name[:SHOWN_NAME]}' can't stand in the query string; put it into the body"
        )


def read_query_string(request: web.Request) -> list[tuple[str, str]]:
    """Decode the query string; `request.query` would put U+FFFD for what isn't UTF-8."""
    try:
        return parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True, errors="strict")
    except UnicodeDecodeError as cause:
        raise InvalidRequest("the query string is not UTF-8") from cause


async def read_pieces(request: web.Request) -> AsyncGenerator[bytes, None]:
    """Read the body as it comes, however large it is.

    Raises:
        RequestTimeout: nothing came for `limits.stream_stall_s`.
        InvalidRequest: it can't be read to its end.
        UnsupportedMediaType: it's compressed.
    """
    _check_coding(request)
    if request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the response is still to come
    stall_s = request.app[SETTINGS].limits.stream_stall_s
    while True:
        try:
            async with asyncio.timeout(stall_s):
                piece = await request.content.readany()
        except TimeoutError as cause:
            raise RequestTimeout(
                f"nothing of the body came for {stall_s} s (limits.stream_stall_s)"
            ) from cause
        except web.RequestPayloadError as cause:
            raise InvalidRequest(f"the body can't be read to its end: {cause}") from cause
        if not piece:
            return
        yield piece


def _check_coding(request: web.Request) -> None:
    if "Content-Encoding" in request.headers:
        raise UnsupportedMediaType("compressed bodies are not read; send it without encoding")


async def read_body(request: web.Request) -> bytes:
    """Read the body within `limits.body_bytes` and `http.body_timeout_s`."""
    settings = request.app[SETTINGS]
    _check_coding(request)
    try:
        if request.content.is_eof():
            return await request.read()
        async with asyncio.timeout(settings.http.body_timeout_s):
            return await request.read()
    except TimeoutError as cause:
        raise RequestTimeout(
            f"the body did not arrive within {settings.http.body_timeout_s} s"
        ) from cause
    except web.HTTPRequestEntityTooLarge as cause:
        raise RequestTooLarge(
            f"the body has more than {settings.limits.body_bytes} bytes (limits.body_bytes)"
        ) from cause
