"""Work that is done again and again beside other work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def repeat(work: Callable[[], Awaitable[None]], pause_s: float) -> AsyncIterator[None]:
    """Do `work` after every pause as long as the block lasts; it handles its own failures."""

    async def go_on() -> None:
        while True:
            await asyncio.sleep(pause_s)
            await work()

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
