"""Where rows go: standard output, with the progress of a long stream on stderr."""

import asyncio
import os
import select
import stat
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

STDOUT = 1
PIECE_BYTES = 4096  # PIPE_BUF: as much as a pipe takes at once when it says that it takes some
FILE_PIECE_BYTES = 1024 * 1024
REFRESH_S = 0.5


class OutputClosed(Exception):
    """Who read the output has gone."""


class Output:
    """Standard output, written so that signals are heard while its reader is slow."""

    def __init__(self) -> None:
        is_file = stat.S_ISREG(os.fstat(STDOUT).st_mode)
        self._piece_bytes = FILE_PIECE_BYTES if is_file else PIECE_BYTES
        self._rows = self._bytes = 0

    async def write(self, data: bytes, rows: int = 0) -> None:
        """Write everything; `rows` is their number, if it's known.

        Raises:
            OutputClosed, OSError: nobody reads it, or it can't be written.
        """
        rest = memoryview(data)
        try:
            while rest:
                if not select.select((), (STDOUT,), (), 0)[1]:
                    await _wait_for_room()
                rest = rest[os.write(STDOUT, rest[: self._piece_bytes]) :]
        except BrokenPipeError as cause:
            raise OutputClosed from cause
        self._rows += rows
        self._bytes += len(data)

    @asynccontextmanager
    async def progress(self) -> AsyncIterator[None]:
        """Show how far a stream is, where a terminal shows nothing else."""
        if os.isatty(STDOUT) or not sys.stderr.isatty():
            yield
            return
        task = asyncio.create_task(self._show())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            say("\r\x1b[K")

    async def _show(self) -> None:
        start = time.monotonic()
        while True:
            await asyncio.sleep(REFRESH_S)
            rows = f"{self._rows:,} rows, " if self._rows else ""
            say(f"\r\x1b[K{rows}{self._bytes / 1e6:,.1f} MB, {time.monotonic() - start:,.0f} s")


def say(text: str) -> None:
    """Write to stderr at once."""
    sys.stderr.write(text)
    sys.stderr.flush()


async def _wait_for_room() -> None:
    loop, room = asyncio.get_running_loop(), asyncio.Event()
    loop.add_writer(STDOUT, room.set)
    try:
        await room.wait()
    finally:
        loop.remove_writer(STDOUT)
