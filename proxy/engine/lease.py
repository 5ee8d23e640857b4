"""A connection on loan."""

from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline

if TYPE_CHECKING:
    from proxy.engine.lane_pool import LanePool


class Lease:
    """Borrows a connection for the time of a `with` block; `waited_s` says how long that took."""

    __slots__ = ("_connection", "_deadline", "_pool", "waited_s")

    def __init__(self, pool: "LanePool", deadline: Deadline) -> None:
        self._pool = pool
        self._deadline = deadline
        self._connection: UpstreamConnection | None = None
        self.waited_s = 0.0

    async def __aenter__(self) -> UpstreamConnection:
        self._connection = self._pool.borrow_idle()
        if self._connection is None:
            started = perf_counter()
            self._connection = await self._pool.borrow(self._deadline)
            self.waited_s = perf_counter() - started
        return self._connection

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._connection is not None:
            self._pool.give_back(self._connection)
