"""A listening socket, and the HTTP server behind it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TypeAlias, cast

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
    await runner.setup()
    try:
        if make_express is None:
            await web.SockSite(runner, listener, backlog=BACKLOG).start()
            yield _url(listener)
        else:
            async with _serve_express(listener, make_express(cast("OpenProtocol", runner.server))):
                yield _url(listener)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def _serve_express(listener: socket.socket, parts: ExpressParts) -> AsyncIterator[None]:
    """Have new connections begin on the short way."""
    loop = asyncio.get_running_loop()
    open_one = partial(Express, parts)
    if listener.family is socket.AF_UNIX:
        server = await loop.create_unix_server(open_one, sock=listener, backlog=BACKLOG)
    else:
        server = await loop.create_server(open_one, sock=listener, backlog=BACKLOG)
    try:
        yield
    finally:
        server.close()
        for connection in tuple(parts.connections):
            connection.close()


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
