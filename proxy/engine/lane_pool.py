"""The queue in front of the upstream's connections."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

from proxy.engine.alarm import Alarm
from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.lease import Lease
from proxy.errors import Draining, PoolTimeout, ProxyError, QueueFull
from proxy.stats.events import Emit, Event

RETRY_S = 0.5  # wait before the next attempt to open one more, while lent ones serve the waiters


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """`connections` at most, `waiters` at most, and how long each may wait or idle."""

    connections: int
    waiters: int
    checkout_timeout_s: float
    idle_s: float


class LanePool:
    """Lends connections in order of arrival.

    A connection that comes back goes straight to the next waiter. Everything that takes time
    (opening, cancelling, closing) is done by tasks that the pool owns, never by the request, so a
    client that goes away can't interrupt it.
    """

    def __init__(
        self, open_one: Callable[[], Awaitable[UpstreamConnection]], limits: PoolLimits, emit: Emit
    ) -> None:
        self._open_one = open_one
        self._limits = limits
        self._emit = emit
        self._loop = asyncio.get_running_loop()  # asking for it is a system call in Python 3.11
        self._idle: deque[tuple[float, UpstreamConnection]] = deque()
        self._alarm = Alarm(self._time_out)
        self._waiters: OrderedDict[asyncio.Future[UpstreamConnection], Deadline] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._is_failing = False
        self._is_closing = False
        self._change = asyncio.Event()
        self._lent: set[UpstreamConnection] = set()
        self._opening = 0
        self._mending = 0  # being cancelled, rolled back or closed
        self._max_lent = 0
        self._max_waiters = 0

    def gauges(self) -> dict[str, int]:
        """Return what `/stats` shows."""
        return {
            "limit": self._limits.connections,
            "in_use": len(self._lent),
            "max_in_use": self._max_lent,
            "idle": len(self._idle),
            "opening": self._opening,
            "mending": self._mending,
            "waiters": len(self._waiters),
            "max_waiters": self._max_waiters,
        }

    def lease(self, deadline: Deadline) -> Lease:
        """Borrow a connection in a `with` block."""
        return Lease(self, deadline)

    async def borrow(self, deadline: Deadline) -> UpstreamConnection:
        """Take a connection, waiting for one in order of arrival.

        Raises:
            QueueFull: too many wait already.
            PoolTimeout: none became free in time.
            Draining: the pool is being closed.
            UpstreamUnavailable, UpstreamAuth: none could be opened.
        """
        if self._is_closing:
            raise Draining("the service is shutting down")
        return self.borrow_idle() or await self._wait(deadline)

    def borrow_idle(self) -> UpstreamConnection | None:
        """Take a connection that idles, unless others wait for one already."""
        connection = None if self._waiters or self._is_closing else self._take_idle()
        if connection is not None:
            self._emit(Event.LANE_LENT, 0)
            self._lend(connection)
        return connection

    def give_back(self, connection: UpstreamConnection) -> None:
        """Return a borrowed connection, whatever state it is in."""
        self._lent.remove(connection)
        self._change.set()
        if connection.is_clean:
            self._offer(connection)
        else:
            self._mend(self._settle(connection))

    def cancel_all(self, cause: Callable[..., ProxyError]) -> None:
        """End every wait, and cancel every statement under way; their requests get `cause`."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(cause("cancelled while it waited for a connection"))
        for connection in self._lent:
            connection.cancel(cause)

    def list_phases(self) -> dict[Deadline, Literal["queue", "execute"]]:
        """Say what each request does here; it is known by its very deadline."""
        running = (each.deadline for each in self._lent if each.lane.is_busy)
        return {
            **dict.fromkeys(self._waiters.values(), "queue"),
            **{deadline: "execute" for deadline in running if deadline is not None},
        }

    def cancel_request(self, deadline: Deadline, cause: Callable[..., ProxyError]) -> bool:
        """Cancel what a request waits for, runs, and would run next; False if that is nothing."""
        waiters = [waiter for waiter, each in self._waiters.items() if each is deadline]
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(cause("it was cancelled while it waited", phase="queue"))
        running = [each for each in self._lent if each.deadline is deadline and each.lane.is_busy]
        for connection in running:
            connection.cancel(cause)
        if not (waiters or running):
            return False
        deadline.cause = cause
        return True

    async def release_idle(self) -> None:
        """Hand every idle connection back to the engine's pool now."""
        for _, connection in self._idle:
            self._mend(connection.release() if connection.is_clean else connection.discard())
        self._idle.clear()
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self, cause: Callable[..., ProxyError] | None = None) -> None:
        """Lend nothing any more and close every connection, the lent ones as they come back.

        With `cause` what runs or waits is cancelled and gets it; without, it may finish.
        """
        self._is_closing = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        if cause is not None:
            self.cancel_all(cause)
        self._close_idle()
        while self._count() or self._waiters:
            await asyncio.wait(self._tasks) if self._tasks else await self._change.wait()
            self._change.clear()

    def _close_idle(self) -> None:
        while (connection := self._take_idle()) is not None:
            self._mend(connection.retire())

    def _lend(self, connection: UpstreamConnection) -> UpstreamConnection:
        self._lent.add(connection)
        self._max_lent = max(self._max_lent, len(self._lent))
        return connection

    def _take_idle(self) -> UpstreamConnection | None:
        """Take the idle connection that was used last; lost and old ones are put away."""
        while self._idle:
            _, connection = self._idle.pop()
            if connection.is_clean and not connection.is_expired:
                return connection
            self._mend(connection.retire() if connection.is_clean else connection.discard())
        return None

    def _offer(self, connection: UpstreamConnection) -> None:
        """Give a free connection to the first waiter, or keep it; an old one is closed."""
        if connection.is_expired:
            self._mend(connection.retire())
            return
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_result(self._lend(connection))
                return
        if self._is_closing:
            self._mend(connection.retire())
            return
        self._idle.append((self._loop.time(), connection))
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(self._limits.idle_s, self._sweep)

    async def _wait(self, deadline: Deadline) -> UpstreamConnection:
        room = self._limits.connections - self._count() + self._opening
        if len(self._waiters) - room >= self._limits.waiters:
            self._emit(Event.QUEUE_REFUSED, 1)
            raise QueueFull(f"{self._limits.waiters} requests wait for a connection already")
        started = perf_counter()
        waiter: asyncio.Future[UpstreamConnection] = self._loop.create_future()
        self._waiters[waiter] = deadline
        self._max_waiters = max(self._max_waiters, len(self._waiters))
        self._grow()
        end = min(deadline.at, self._loop.time() + self._limits.checkout_timeout_s)
        self._alarm.set(waiter, end)
        try:
            connection = await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.give_back(waiter.result())  # lent in the very moment of the cancellation
            raise
        finally:
            self._alarm.clear(waiter)
            self._waiters.pop(waiter, None)
            self._change.set()
        self._emit(Event.LANE_LENT, perf_counter() - started)
        return connection

    def _time_out(self, waiter: asyncio.Future[UpstreamConnection]) -> None:
        if waiter.done():
            return
        self._emit(Event.LANE_TIMED_OUT, 1)
        waiter.set_exception(
            PoolTimeout(f"no connection became free in time; {len(self._lent)} are in use")
        )

    def _grow(self) -> None:
        """Open connections for the waiters, up to the limit; one at a time while that fails."""
        wanted = min(len(self._waiters), 1 if self._is_failing else self._limits.connections)
        while self._opening < wanted and self._count() < self._limits.connections:
            self._opening += 1
            self._own(self._open())

    def _count(self) -> int:
        return len(self._lent) + len(self._idle) + self._opening + self._mending

    async def _open(self) -> None:
        try:
            connection = await self._open_one()
        except ProxyError as error:
            self._is_failing = True
            self._emit(Event.CONNECT_FAILED, 1)
            if self._lent:  # one of them will come back to the waiter
                await asyncio.sleep(RETRY_S)
            else:
                self._fail_first(error)
        else:
            self._is_failing = False
            self._offer(connection)
        finally:
            self._opening -= 1
            self._grow()

    def _fail_first(self, error: ProxyError) -> None:
        while self._waiters:
            waiter, _ = self._waiters.popitem(last=False)
            if not waiter.done():
                waiter.set_exception(error)
                return

    async def _settle(self, connection: UpstreamConnection) -> None:
        if await connection.settle():
            self._offer(connection)
        else:
            await connection.discard()

    def _mend(self, work: Coroutine[Any, Any, None]) -> None:
        """Have a connection cleaned up or closed; until then it counts against the limit."""

        async def mend() -> None:
            try:
                await work
            finally:
                self._mending -= 1
                self._grow()

        self._mending += 1
        self._own(mend())

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _sweep(self) -> None:
        """Hand what has been idle for long back to the engine's pool, which closes the overflow."""
        self._sweep_timer = None
        while self._idle and self._idle[0][0] + self._limits.idle_s <= self._loop.time():
            _, connection = self._idle.popleft()
            self._mend(connection.release() if connection.is_clean else connection.discard())
        if self._idle:
            end = self._idle[0][0] + self._limits.idle_s
            self._sweep_timer = self._loop.call_at(end, self._sweep)
