"""Work that is done again and again beside other work."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

_log = logging.getLogger("pgsidecar.repeat")


@asynccontextmanager
async def repeat(work: Callable[[], Awaitable[None]], pause_s: float) -> AsyncIterator[None]:
    """Do `work` after every pause as long as the block lasts; a bug in it doesn't end that."""

    async def go_on() -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                await work()
            except Exception:  # noqa: BLE001  # else it would end unseen; the next time may go well
                _log.exception("repeated work failed")

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
