"""Age of the connections that nobody uses: in the engine's pool no lease meets them."""

import asyncio
import random
from typing import TYPE_CHECKING
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.engine.factory import EXPIRES_AT
from proxy.stats.events import Emit, Event

if TYPE_CHECKING:
    from sqlalchemy.pool import ConnectionPoolEntry

AGE_SHARE = 8  # what idles is looked at so often in its life
_LONGEST_S = 15.0
_SPREAD_S = 5.0  # in which all are replaced, so that the upstream isn't stormed


class Reaper:
    """Closes the connections of an engine's pool that idle beyond their age, and opens none.

    A PgBouncer that drains waits for its clients, and an idle service must not keep it waiting.
    They are closed where they lie: checking them out would open a new one for each that was closed
    before, and at a PgBouncer that drains fail with the first of those.
    """

    def __init__(self, engine: AsyncEngine, emit: Emit) -> None:
        self._entries: WeakSet[ConnectionPoolEntry] = WeakSet()
        self._emit = emit
        event.listen(engine.sync_engine, "connect", lambda _, entry: self._entries.add(entry))

    async def run(self, max_age_s: float) -> None:
        """Look again and again, for ever."""
        while True:
            await asyncio.sleep(min(max_age_s / AGE_SHARE, _LONGEST_S))
            self.retire_idle()

    def retire_idle(self) -> None:
        """Close what idles beyond its age; in one step, so nobody can check it out meanwhile."""
        now = asyncio.get_running_loop().time()
        for entry in tuple(self._entries):
            is_idle = entry.dbapi_connection is not None and not entry.in_use
            if is_idle and entry.info[EXPIRES_AT] <= now:
                self._emit(Event.CONNECTION_RETIRED, 1)
                entry.invalidate()

    def age_all(self) -> None:
        """Have every connection of now retire soon, since its login has another password."""
        now = asyncio.get_running_loop().time()
        for entry in tuple(self._entries):
            if entry.dbapi_connection is not None:
                soon = now + random.uniform(0, _SPREAD_S)  # noqa: S311  # it needs no secrecy
                entry.info[EXPIRES_AT] = min(entry.info[EXPIRES_AT], soon)
