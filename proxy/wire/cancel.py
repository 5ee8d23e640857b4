"""A CancelRequest on a connection of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.wire.lane import Lane
from proxy.wire.messages import SSL_REQUEST, build_cancel


async def cancel_statement(lane: Lane) -> None:
    """Ask the server to cancel what runs on `lane`; returns after the server's EOF.

    Only after this EOF may the lane be used again: before, the request may still be under way and
    would hit the next statement (docs/explanation/cancel.md). The caller sets the deadline.

    Raises:
        OSError: the server can't be reached.
    """
    pid, secret = lane.backend_key()
    async with _open_beside(lane) as (reader, writer):
        writer.write(build_cancel(pid, secret))
        await reader.read()


@asynccontextmanager
async def _open_beside(
    lane: Lane,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to the very server that `lane` is connected to, by TLS where the lane uses it."""
    address = lane.extra_info("peername")
    if isinstance(address, tuple):
        reader, writer = await asyncio.open_connection(address[0], address[1])
    else:
        reader, writer = await asyncio.open_unix_connection(address)
    try:
        tls = lane.extra_info("ssl_object")
        if tls is not None:
            writer.write(SSL_REQUEST)
            await reader.readexactly(1)
            await writer.start_tls(tls.context, server_hostname=tls.server_hostname)
        yield reader, writer
    finally:
        writer.close()
