"""A listening socket, and the HTTP server behind it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, TypeAlias, cast

from aiohttp import web

from proxy.api.express import Express, ExpressParts
from proxy.errors import ProxyError

KEEPALIVE_S = 75.0
BACKLOG = 1024  # connections that may wait to be accepted
SOCKET_MODE = 0o660

Address: TypeAlias = Path | tuple[str, int]
OpenProtocol: TypeAlias = Callable[[], asyncio.Protocol]


@asynccontextmanager
async def listen(
    app: web.Application,
    address: Address,
    limits: "ListenLimits",
    make_express: Callable[[OpenProtocol], ExpressParts] | None = None,
) -> AsyncIterator[str]:
    """Serve `app` on an address; yields its URL, or the socket's path.

    With `make_express` connections begin there, and come to `app` by the protocol it is given.

    Raises:
        ProxyError: the address is taken, or isn't one of this machine.
    """
    runner = web.AppRunner(
        app,
        access_log=None,
        keepalive_timeout=KEEPALIVE_S,
        handler_cancellation=True,  # a client that goes away cancels its statement
        shutdown_timeout=0.1,  # what was worth waiting for, the drain has waited for
        auto_decompress=False,
    )
    listener = bind(address)
    _limit_unread(listener, limits.unread_s)
    await runner.setup()
    server = cast("web.Server", runner.server)
    express = make_express(server) if make_express is not None else None
    connections = express.connections if express is not None else set()

    def open_one() -> asyncio.Protocol:
        if len(connections) + len(server.connections) >= limits.connections:
            return Refusal()
        return Express(express) if express is not None else server()

    try:
        async with _serve(listener, open_one):
            yield _url(listener)
    finally:
        for connection in tuple(connections):
            connection.close()
        await runner.cleanup()


class ListenLimits(NamedTuple):
    """How many connections may be open, and how long one may leave unread what was sent to it."""

    connections: int
    unread_s: float


class Refusal(asyncio.Protocol):
    """What a connection gets that is one too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so, and close it."""
        writer = cast("asyncio.Transport", transport)
        writer.write(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        writer.close()


@asynccontextmanager
async def _serve(listener: socket.socket, open_one: OpenProtocol) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    if listener.family is socket.AF_UNIX:
        server = await loop.create_unix_server(open_one, sock=listener, backlog=BACKLOG)
    else:
        server = await loop.create_server(open_one, sock=listener, backlog=BACKLOG)
    try:
        yield
    finally:
        server.close()


def _limit_unread(listener: socket.socket, unread_s: float) -> None:
    """Have the kernel drop a connection whose other end takes nothing of what it was sent.

    Connections inherit it. It is Linux' own, and a unix socket has no such thing.
    """
    if listener.family is not socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unread_s * 1000))


def bind(address: Address) -> socket.socket:
    """Bind a listener: a unix socket for owner and group, or a TCP port.

    Raises:
        ProxyError: the address is taken, or isn't one of this machine.
    """
    try:
        return _bind_unix(address) if isinstance(address, Path) else _bind_tcp(*address)
    except OSError as cause:
        where = address if isinstance(address, Path) else f"{address[0]}:{address[1]}"
        raise ProxyError(f"cannot listen on {where}: {cause.strerror}") from cause


def _bind_unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)  # a killed process leaves it
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(SOCKET_MODE)
    return listener


def _bind_tcp(host: str, port: int) -> socket.socket:
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def _url(listener: socket.socket) -> str:
    address = listener.getsockname()
    if isinstance(address, str):
        return address  # of a unix socket
    host, port, *_ = address
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
