"""The rows of a stream on their way from the server to the client, never more than fit."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from proxy.engine.connection import Cause
from proxy.query.buffer import RowBuffer
from proxy.wire.lane import Lane

FLUSH_BYTES = 64 * 1024
FLUSH_S = 0.05
FULL_BYTES = 256 * 1024  # uvloop reads as much at once


class StreamBuffer(RowBuffer):
    """A sink that stops the server while it's full.

    The reader is woken by the first rows at once, later by `FLUSH_BYTES` or after `FLUSH_S`.
    """

    def __init__(
        self, lane: Lane, max_rows: int, max_bytes: int, on_pause: Callable[[], None]
    ) -> None:
        super().__init__(max_rows, max_bytes)
        self._lane = lane
        self._on_pause = on_pause
        self._is_paused = False
        self._is_first = True
        self._timer: asyncio.TimerHandle | None = None
        self._wake = asyncio.Event()
        self.is_over = False  # nothing comes any more
        self.cut_by: Cause | None = None  # rows were dropped, because of this

    def feed_rows(self, data: bytes, start: int) -> int:
        """Keep the complete rows of this run."""
        end = super().feed_rows(data, start)
        if self.cut_by is not None:
            self.take_messages()
        if not self.held_bytes:
            return end
        if self._is_first or self.held_bytes >= FLUSH_BYTES:
            self._is_first = False
            self._wake.set()
            self._pause_if_full()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(FLUSH_S, self._wake.set)
        return end

    async def wait(self, timeout_s: float) -> None:
        """Wait until there is something to take, or nothing will come, or the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._wake.wait()

    def take(self) -> bytes:
        """Take the rows that are there, as one run of messages; the server may go on."""
        if not self.is_over:
            self._wake.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._is_paused:
            self._is_paused = False
            self._lane.resume()
        return self.take_messages()

    def cut(self, cause: Cause) -> None:
        """Drop what comes from now on, so that the server comes to its end."""
        self.cut_by = cause
        self.take()

    def finish(self, _flight: object) -> None:
        """Be told that nothing comes any more."""
        self.is_over = True
        self._wake.set()

    def _pause_if_full(self) -> None:
        if self.held_bytes >= FULL_BYTES and not self._is_paused:
            self._is_paused = True
            self._on_pause()
            self._lane.pause()
