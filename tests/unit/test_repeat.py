"""Work that is done again and again."""

import asyncio

from proxy.repeat import repeat


async def test_work_that_fails_is_done_again():
    done = asyncio.Event()
    attempts = 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise RuntimeError("not yet")
        done.set()

    async with repeat(work, 0.001):
        await asyncio.wait_for(done.wait(), 5)


async def test_it_ends_with_its_block():
    attempts = 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1

    async with repeat(work, 0.001):
        pass
    before = attempts
    await asyncio.sleep(0.02)
    assert attempts == before
