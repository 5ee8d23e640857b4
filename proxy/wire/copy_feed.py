"""The data of one COPY … FROM STDIN, on its way to the server."""

import asyncio
from typing import Protocol

from proxy.wire.messages import COPY_DONE, SYNC, build_copy_data, build_copy_fail

_GIVEN_UP = build_copy_fail(b"the client gave up") + SYNC


class _Transport(Protocol):
    """As much of asyncio's as a feed needs."""

    def write(self, data: bytes) -> None: ...


class CopyFeed:
    """Sends data while the server takes it, never more than fits, and then the flight's Sync.

    The lane tells what the server says; the request waits and sends.
    """

    def __init__(self) -> None:
        self._transport: _Transport | None = None
        self._wake = asyncio.Event()
        self._is_full = False
        self._has_ended = False  # the Sync has been sent, or nobody would read it
        self.is_accepted = False  # the server waits for data
        self.is_complete = False  # all the data has been sent

    @property
    def is_open(self) -> bool:
        """Whether the server takes data now."""
        return self.is_accepted and not self._has_ended

    async def wait(self) -> bool:
        """Wait until the server takes data, as `send`."""
        while not (self._has_ended or (self.is_accepted and not self._is_full)):
            self._wake.clear()
            await self._wake.wait()
        return self.is_open

    async def send(self, data: bytes) -> bool:
        """Send a piece, and wait until the next one fits; False when the server wants no more."""
        if data and not self._has_ended:
            self._write(build_copy_data(data))
        return await self.wait()

    def finish(self) -> None:
        """End the data: this was all of it."""
        if not self._has_ended:
            self.is_complete = True
            self._end(COPY_DONE + SYNC)

    def fail(self, _cause: object = None) -> None:
        """End the data in failure, so that the server undoes it."""
        self._end(_GIVEN_UP)

    def attach(self, transport: _Transport) -> None:
        """Be given the way to the server: the flight is being sent."""
        self._transport = transport

    def accept(self) -> None:
        """Be told that the server waits for data."""
        self.is_accepted = True
        self._wake.set()

    def refuse(self) -> None:
        """Be told of an error: the server passes over everything up to a Sync."""
        self._end(SYNC)

    def close(self) -> None:
        """Be told that the flight is over, or the connection lost."""
        self._has_ended = True
        self._wake.set()

    def pause(self) -> None:
        """Be told that the socket is full."""
        self._is_full = True

    def resume(self) -> None:
        """Be told that the socket has room again."""
        self._is_full = False
        self._wake.set()

    def _end(self, last_words: bytes) -> None:
        if not self._has_ended:
            self._write(last_words)
            self.close()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)
