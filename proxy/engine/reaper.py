"""Age of the connections that nobody uses: in the engine's pool no lease meets them."""

import asyncio
from typing import TYPE_CHECKING, cast

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from proxy.engine.connection import check_out, close_if_over
from proxy.errors import ProxyError
from proxy.stats.events import Emit

if TYPE_CHECKING:
    from sqlalchemy.pool import QueuePool

_SHARE, _LONGEST_S = 8, 15.0  # an idle connection outlives its age by an eighth of it at most


async def reap(engine: AsyncEngine, max_age_s: float, emit: Emit) -> None:
    """Close idle connections that are over their age, for ever.

    A PgBouncer that drains waits for its clients, and an idle service must not keep it waiting.
    """
    while True:
        await asyncio.sleep(min(max_age_s / _SHARE, _LONGEST_S))
        await retire_idle(engine, emit)


async def retire_idle(engine: AsyncEngine, emit: Emit) -> None:
    """Take every idle connection out of the engine's pool, and put back those still good."""
    pool = cast("QueuePool", engine.sync_engine.pool)
    checkouts: list[AsyncConnection] = []
    try:
        for _ in range(pool.checkedin()):
            checkouts.append(await check_out(engine))  # noqa: PERF401  # each must be given back
    except ProxyError:
        return  # the upstream is away; whoever asks next is told
    finally:
        for checkout in checkouts:
            await close_if_over(checkout, emit)
            await checkout.close()
