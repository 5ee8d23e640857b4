"""One connection to the upstream: SQLAlchemy's, with the lane on its transport."""

import asyncio
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any, TypeAlias, cast

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from proxy.engine.alarm import Alarm
from proxy.engine.deadline import Deadline
from proxy.engine.driver import Driver, translate_driver_errors
from proxy.engine.factory import EXPIRES_AT
from proxy.engine.sqlstate import lost_error
from proxy.errors import DeadlineExceeded, ProxyError, UpstreamUnavailable
from proxy.stats.events import Emit, Event
from proxy.wire.answer import Answer, Discard, RowSink
from proxy.wire.cancel import cancel_statement
from proxy.wire.lane import ConnectionLost, HandOverRefused, Lane
from proxy.wire.messages import Flight

CANCEL_S = 1.5  # longest wait for the server to take a cancel and to end the statement
CANCEL_AGAIN_S = 0.1  # wait before the second cancel, twice as long before each other one
SETTLE_S = 5.0  # longest clean-up after which a connection is dropped instead
_USED = "pgsidecar_used"  # key in the pool record's info
QUERY_CANCELED = "57014"

Cause: TypeAlias = Callable[..., ProxyError]  # makes the error that a cancelled request gets
OnCancel: TypeAlias = Callable[[Cause], None]


def _do_nothing(_cause: Cause) -> None:
    """There is nothing to do before a cancel."""


class UpstreamConnection:
    """Runs flights with a deadline; knows whether it may be lent again."""

    def __init__(
        self,
        checkout: AsyncConnection,
        driver: Driver,
        lane: Lane,
        info: MutableMapping[str, Any],  # the pool record's
        emit: Emit,
    ) -> None:
        self._checkout = checkout
        self._driver = driver
        self._emit = emit
        self._info = info
        self._loop = asyncio.get_running_loop()  # asking for it is a system call in Python 3.11
        self._flight: asyncio.Future[Answer] | None = None
        self._cancelling: asyncio.Task[bool] | None = None
        self._cause: Cause = DeadlineExceeded
        self._alarm = Alarm(self.cancel)
        self._on_cancel: OnCancel = _do_nothing
        self.deadline: Deadline | None = None  # of the request that used it last
        self.lane = lane
        self.is_new = False  # the first time that it's lent

    @classmethod
    async def open(
        cls, engine: AsyncEngine, max_message_bytes: int, emit: Emit
    ) -> "UpstreamConnection":
        """Check a connection out of the engine's pool and take over its transport.

        Raises:
            UpstreamUnavailable, UpstreamAuth: the upstream can't be reached, or refuses us.
            PoolTimeout: others hold all of the engine's connections.
        """
        checkout = await check_out_fresh(engine, emit)
        proxied = await checkout.get_raw_connection()
        driver = cast("Driver", proxied.driver_connection)
        try:
            lane = Lane(driver, max_message_bytes)
        except HandOverRefused as cause:
            await checkout.close()
            raise ProxyError(f"the lane can't take over a connection: {cause}") from cause
        connection = cls(checkout, driver, lane, proxied.info, emit)
        connection.is_new = not proxied.info.get(_USED, False)
        proxied.info[_USED] = True
        return connection

    @property
    def is_expired(self) -> bool:
        """Whether it is over its maximum age."""
        return bool(self._loop.time() >= self._info[EXPIRES_AT])

    @property
    def is_clean(self) -> bool:
        """Whether nobody would notice that it was used: idle, no transaction, no cancel on its way.

        Until the cancel socket's EOF a late cancel could still hit the next statement.
        """
        lane = self.lane
        return (
            self._cancelling is None
            and lane.status == "I"
            and not lane.is_busy
            and not lane.is_lost
        )

    async def run(
        self,
        flight: Flight,
        sink: RowSink,
        deadline: Deadline,
        on_cancel: OnCancel = _do_nothing,
    ) -> Answer:
        """Send `flight` and wait for its ReadyForQuery; at the deadline the statement is cancelled.

        `on_cancel` is told the cause before a cancel is sent: a paused lane must read on, else the
        end of the statement is never seen.

        Raises:
            DeadlineExceeded, Draining: cancelled; `executed` says what became of the statement.
            UpstreamUnavailable: the connection was lost; `executed` is no where that was before.
        """
        if deadline.cause is not None:
            raise deadline.cause("it was cancelled before it was sent", phase="queue")
        if self.lane.is_lost:
            detail = "the connection was lost before the statement was sent"
            raise UpstreamUnavailable(detail, phase="execute")
        self.deadline = deadline
        self._flight = future = self.lane.send(flight, sink)
        self._on_cancel = on_cancel
        self._alarm.set(DeadlineExceeded, deadline.at)
        try:
            answer = await future
        except ConnectionLost as lost:
            if self._cancelling is None:
                raise lost_error(lost) from lost
            detail = "the statement was to be cancelled, and the upstream didn't answer in time"
            raise self._cause(detail, phase="execute", executed="unknown") from lost
        finally:
            self._alarm.clear(DeadlineExceeded)
        if self._cancelling and answer.error and answer.error.sqlstate == QUERY_CANCELED:
            detail = "the statement was cancelled"
            raise self._cause(detail, phase="execute", executed="no", sqlstate=QUERY_CANCELED)
        return answer

    def cancel(self, cause: Cause) -> None:
        """Cancel the flight under way, if there is one; its `run` raises `cause`."""
        future = self._flight
        if future is None or future.done() or self._cancelling is not None:
            return
        self._cause = cause
        self._on_cancel(cause)
        self._emit(Event.STATEMENT_CANCELLED, 1)
        self._cancelling = self._loop.create_task(self._cancel(future))

    async def _cancel(self, future: asyncio.Future[Answer]) -> bool:
        """Cancel what runs; True when the server has taken it and the lane is free again.

        The server passes over a cancel that comes before the statement, so it is sent again.
        """
        is_taken, wait_s = False, CANCEL_AGAIN_S
        with suppress(OSError, EOFError):  # TimeoutError is an OSError
            async with asyncio.timeout(CANCEL_S):
                while not (is_taken and future.done()):
                    is_taken = False
                    await cancel_statement(self.lane)
                    is_taken = True
                    await asyncio.wait([future], timeout=wait_s)
                    wait_s *= 2
        if not future.done():
            self.lane.abort()
        return is_taken and not self.lane.is_lost

    async def regain(self) -> bool:
        """Wait until a cancel has passed, so that it can't hit the next flight. False if lost."""
        if self._cancelling is not None:
            await asyncio.wait([self._cancelling])  # the waiting may be cancelled, the cancel not
        return await self._end_statement()

    async def settle(self) -> bool:
        """Bring the lane back: cancel what runs, roll back what is open. False if that failed."""
        try:
            async with asyncio.timeout(SETTLE_S):
                if not await self._end_statement():
                    return False
                if self.lane.status != "I":
                    await self.lane.send_query("ROLLBACK", Discard())
        except (TimeoutError, ConnectionLost):
            return False
        return self.is_clean

    async def _end_statement(self) -> bool:
        if self.lane.is_lost:
            return False
        if self.lane.is_busy:
            self._flight = future = self.lane.abandon()
            self.cancel(DeadlineExceeded)
            await future
        if self._cancelling is not None:
            is_taken = await self._cancelling
            self._cancelling = None
            return is_taken
        return True

    async def release(self) -> None:
        """Hand the transport back and the connection to the engine's pool."""
        self.lane.hand_back()
        await self._checkout.close()

    async def retire(self) -> None:
        """Close the connection in order, because of its age."""
        self._emit(Event.CONNECTION_RETIRED, 1)
        self.lane.hand_back()
        await self._checkout.invalidate()
        await self._checkout.close()

    async def discard(self) -> None:
        """Drop the connection without another word to the server."""
        self._emit(Event.CONNECTION_DISCARDED, 1)
        if self._cancelling is not None:
            self._cancelling.cancel()
        self.lane.hand_back()
        self._driver.terminate()
        await self._checkout.invalidate()
        await self._checkout.close()


async def check_out(engine: AsyncEngine) -> AsyncConnection:
    """Check a connection out of the engine's pool.

    Raises:
        UpstreamUnavailable, UpstreamAuth, PoolTimeout: nothing was executed.
    """
    with translate_driver_errors():
        return await engine.connect()


async def check_out_fresh(engine: AsyncEngine, emit: Emit) -> AsyncConnection:
    """Check a connection out that is neither over its age nor lost.

    Raises:
        as `check_out`.
    """
    while True:
        checkout = await check_out(engine)
        if not await close_if_over(checkout, emit):
            return checkout
        await checkout.close()


async def close_if_over(checkout: AsyncConnection, emit: Emit) -> bool:
    """Close a checked-out connection that is over its age or was lost; True if so."""
    proxied = await checkout.get_raw_connection()
    driver = cast("Driver", proxied.driver_connection)
    is_expired = proxied.info[EXPIRES_AT] <= asyncio.get_running_loop().time()
    if not is_expired and not driver.is_closed():
        return False
    emit(Event.CONNECTION_RETIRED if is_expired else Event.CONNECTION_DISCARDED, 1)
    await checkout.invalidate()
    return True
