"""The short way for `POST /v1/query`: what comes complete and plain is answered here.

Everything else on a connection, from the first such bytes on, is aiohttp's for good. Both ways
share the register, the runner, the problems and the headers: docs/adr/0015-express.md.
"""

import asyncio
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import NamedTuple, cast

from proxy.api.origin import OriginRule
from proxy.api.problem import CONTENT_TYPE, build_problem, describe_bug, list_remedies
from proxy.api.register import Finished, Register
from proxy.api.request_head import MAX_HEAD_BYTES, RequestHead, read_head
from proxy.api.scopes import SCOPES
from proxy.api.timing import list_headers
from proxy.auth.authenticator import Authenticator
from proxy.errors import ProxyError
from proxy.keys import Exchange, Lifecycle
from proxy.query.body import parse_body
from proxy.query.execute import QueryAnswer
from proxy.query.logins import Logins
from proxy.query.models import to_query
from proxy.query.policy import Policies

ROUTE = "/v1/query"
_HEAD_END = b"\r\n\r\n"
_OK = HTTPStatus.OK.value
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


class ExpressParts(NamedTuple):
    """What all connections share; `open_other` makes aiohttp's protocol."""

    authenticator: Authenticator
    logins: Logins
    register: Register
    lifecycle: Lifecycle
    policies: Policies
    origins: OriginRule
    max_body_bytes: int
    keepalive_s: float
    open_other: Callable[[], asyncio.Protocol]
    connections: "set[Express]"


class Express(asyncio.Protocol):
    """One client's connection, as long as it sends nothing but plain queries, one at a time."""

    def __init__(self, parts: ExpressParts) -> None:
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._rest = b""  # came while a query ran
        self._used_at = self._loop.time()
        self._timer = self._loop.call_later(parts.keepalive_s, self._close_idle)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._parts.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Answer a plain query; leave the connection to aiohttp at anything else."""
        if self._task is not None:
            self._rest += data
            self._transport.pause_reading()
            return
        end = data.find(_HEAD_END, 0, MAX_HEAD_BYTES)
        head = read_head(data[:end]) if end > 0 else None
        body = data[end + len(_HEAD_END) :]
        if head is None or not self._is_plain(head, len(body)):
            self._hand_over(data)
            return
        self._task = self._loop.create_task(self._serve(head, body))

    def _is_plain(self, head: RequestHead, body_bytes: int) -> bool:
        """Whether the body is here, and nothing about the request is to be refused by its head."""
        parts = self._parts
        is_whole = body_bytes == head.body_bytes and body_bytes <= parts.max_body_bytes
        return is_whole and parts.origins.knows_host(head.host)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's name
        """Cancel what runs: nobody waits for it any more."""
        self._forget()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        """Read no more from a client that doesn't read."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on reading."""
        self._transport.resume_reading()

    def close(self) -> None:
        """Close the connection, and cancel what runs."""
        self._transport.close()
        if self._task is not None:
            self._task.cancel()

    async def _serve(self, head: RequestHead, body: bytes) -> None:
        register = self._parts.register
        exchange = register.enter(head.wanted_id, ROUTE)
        try:
            status, content, extra, error = await self._answer(exchange, head, body)
            finished = Finished("POST", status, len(content), error)
            timings = register.finish(exchange, finished)
            headers = list_headers(exchange, timings) | extra
            self._transport.write(_build_head(status, len(content), headers) + content)
        except asyncio.CancelledError:
            exchange.is_client_gone = True
            raise
        finally:
            register.leave(exchange)
            self._go_on()

    async def _answer(
        self, exchange: Exchange, head: RequestHead, body: bytes
    ) -> tuple[int, bytes, dict[str, str], ProxyError | None]:
        """Status, body, headers of its own, and the error if it is one."""
        try:
            answer = await self._run(exchange, head, body)
        except ProxyError as expected:
            error = expected
        except Exception:  # noqa: BLE001  # the outermost place: it becomes a problem
            error = describe_bug(exchange.request_id)
        else:
            exchange.note(answer)
            return _OK, answer.body, {}, None
        content = build_problem(ROUTE, exchange, error)
        return error.status, content, list_remedies(error), error

    async def _run(self, exchange: Exchange, head: RequestHead, body: bytes) -> QueryAnswer:
        parts = self._parts
        identity = parts.authenticator.identify(head.authorization)
        client = exchange.client = identity.client
        policy = parts.policies.choose(identity)
        policy.require(SCOPES[ROUTE])
        parts.lifecycle.check()
        if policy.quota is not None:
            policy.quota.enter()
        try:
            query = to_query(parse_body(body), policy.limits)
            deadline = exchange.set_deadline(query.timeout_s, query)
            return await parts.logins.choose(client).queries.run(query, deadline)
        finally:
            if policy.quota is not None:
                policy.quota.leave()

    def _go_on(self) -> None:
        """Wait for the next request; what has come meanwhile is more than one at a time."""
        self._task = None
        self._used_at = self._loop.time()
        if self._rest:
            rest, self._rest = self._rest, b""
            self._hand_over(rest)

    def _hand_over(self, data: bytes) -> None:
        """Leave the connection to aiohttp, beginning with `data`."""
        self._forget()
        if self._transport.is_closing():
            return
        other = self._parts.open_other()
        self._transport.set_protocol(other)
        other.connection_made(self._transport)
        self._transport.resume_reading()
        other.data_received(data)

    def _forget(self) -> None:
        self._timer.cancel()
        self._parts.connections.discard(self)

    def _close_idle(self) -> None:
        """Close a connection that has had nothing to do for long; else look again later."""
        end = self._used_at + self._parts.keepalive_s
        if self._task is None and end <= self._loop.time():
            self._transport.close()
            return
        at = max(end, self._loop.time() + 1)
        self._timer = self._loop.call_at(at, self._close_idle)


def _build_head(status: int, body_bytes: int, headers: Mapping[str, str]) -> bytes:
    content_type = "application/json" if status == _OK else CONTENT_TYPE
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    return (
        f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {body_bytes}\r\n{lines}Date: {_date(int(time()))}\r\n\r\n"
    ).encode()


@lru_cache(4)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
