"""Every open transaction: who has it, when it expires, and for a while how it ended."""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from secrets import token_urlsafe

from proxy.engine.alarm import Alarm
from proxy.engine.connection import Cause, UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.upstream import Connected, Upstream
from proxy.errors import (
    Draining,
    Executed,
    NeedsTransactions,
    NotFound,
    ProxyError,
    TooManyTransactions,
    TransactionBusy,
    TransactionEnded,
    TransactionExpired,
)
from proxy.query.block import EndCommand, begin_block, end_block, regain_block
from proxy.query.flight import can_reset_read_only
from proxy.query.transaction import DRAINED, LEFT, Ending, HeldTransaction
from proxy.query.transaction_body import TransactionOrder
from proxy.stats.events import Emit, Event
from proxy.wire.answer import Answer

ID_BYTES = 32
REMEMBERED = 10_000  # transactions that have ended
REMEMBERED_S = 300.0


class TransactionBook:
    """Begins transactions, lends each to one request at a time, and ends them.

    An open transaction holds its connection. Whoever has it says how it ends; if nobody does, a
    deadline ends it.
    """

    def __init__(self, upstream: Upstream, limit: int, emit: Emit) -> None:
        self._upstream = upstream
        self._limit = limit
        self._emit = emit
        self._loop = asyncio.get_running_loop()
        self._open: dict[str, HeldTransaction] = {}
        self._beginning: Counter[str | None] = Counter()  # by client
        self._max_open = 0
        self._ended: OrderedDict[str, tuple[float, Ending]] = OrderedDict()
        self._alarm: Alarm[str] = Alarm(self._expire)
        self._ends: set[asyncio.Task[Answer]] = set()
        self._is_closing = False
        self.none_open = asyncio.Event()
        self.none_open.set()

    def gauges(self) -> dict[str, int]:
        """Return what `/stats` shows."""
        return {"limit": self._limit, "open": len(self._open), "max_open": self._max_open}

    async def begin(
        self,
        order: TransactionOrder,
        deadline: Deadline,
        client: str | None = None,
        most: int | None = None,
    ) -> HeldTransaction:
        """Begin a transaction, in one flight; a client has at most so many.

        Raises:
            NeedsTransactions: the upstream has none.
            TooManyTransactions: they hold their share of the pool already.
            SqlError: the server refuses a setting, the role or the isolation.
            PoolTimeout, QueueFull, UpstreamUnavailable: nothing has begun.
        """
        connected = self._upstream.connected
        if connected.profile.pool_mode == "statement":
            raise NeedsTransactions(
                "PgBouncer refuses BEGIN in statement pooling; send each statement alone"
            )
        self._check_room(client, most)
        self._beginning[client] += 1
        try:
            connection = await begin_block(connected, order, deadline)
        finally:
            self._beginning[client] -= 1
            self._beginning += Counter()  # forgets those who begin none
        if self._is_closing:
            connected.lanes.give_back(connection)
            raise Draining("the service is shutting down")
        return self._hold(connected, connection, order, client)

    def _check_room(self, client: str | None, most: int | None) -> None:
        if len(self._open) + self._beginning.total() >= self._limit:
            raise TooManyTransactions(
                f"{self._limit} transactions are open already, as many as limits.held_share allows"
            )
        own = sum(held.client == client for held in self._open.values()) + self._beginning[client]
        if most is not None and own >= most:
            raise TooManyTransactions(
                f"the client has {own} open transactions, as many as auth.clients allows it"
            )

    def find(self, id_: str, client: str | None = None) -> HeldTransaction:
        """Find an open transaction of a client's.

        Raises:
            TransactionEnded, TransactionExpired: `executed` says whether it took effect.
            NotFound: there is none, or it ended long ago.
        """
        held = self._open.get(id_)
        if held is not None and held.client != client:
            raise NotFound("the client has no transaction with this id")
        if held is not None and not held.is_busy and (ending := held.find_ending()):
            self._end(held, ending)
            held = None
        if held is None:
            raise self._explain_absence(id_)
        return held

    @asynccontextmanager
    async def use(self, id_: str, client: str | None = None) -> AsyncIterator[HeldTransaction]:
        """Have a transaction for statements, as long as the block lasts.

        Raises:
            TransactionBusy: another request has it.
            UpstreamUnavailable: its connection has been lost.
            and as `find`, but `executed` is that of the statement.
        """
        try:
            held = self._take(id_, client)
        except TransactionEnded as error:
            error.executed = "no"
            raise
        try:
            await regain_block(held)
            yield held
        except asyncio.CancelledError:
            held.ending = held.ending or LEFT
            raise
        finally:
            self._release(held)

    async def end(
        self, id_: str, command: EndCommand, deadline: Deadline, client: str | None = None
    ) -> Answer:
        """End a transaction; it goes on to its end even if the client goes away.

        Raises:
            TransactionFailed: COMMIT was answered by ROLLBACK.
            SqlError: the COMMIT failed, and nothing took effect.
            UpstreamUnavailable, DeadlineExceeded: `executed` says what became of a COMMIT.
            and as `find`.
        """
        held = self._take(id_, client)
        self._alarm.clear(id_)
        task = self._loop.create_task(self._finish(held, command, deadline))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        return await asyncio.shield(task)

    def end_all(self) -> None:
        """Roll back what is open; what runs in it is cancelled, and its requests get Draining."""
        self._is_closing = True
        for held in list(self._open.values()):
            self._stop(held, DRAINED, Draining)

    async def close(self) -> None:
        """Roll back what is open, and wait for what has been asked to end."""
        self.end_all()
        if self._ends:
            await asyncio.wait(self._ends)

    def _hold(
        self,
        connected: Connected,
        connection: UpstreamConnection,
        order: TransactionOrder,
        client: str | None,
    ) -> HeldTransaction:
        now = self._loop.time()
        held = HeldTransaction(
            id=token_urlsafe(ID_BYTES),
            connected=connected,
            connection=connection,
            client=client,
            idle_s=order.idle_s,
            proves_read_only=order.transaction.read_only and can_reset_read_only(connected),
            began_at=now,
            expires_at=now + order.timeout_s,
            expires_on=datetime.now(UTC) + timedelta(seconds=order.timeout_s),
        )
        self._open[held.id] = held
        self._max_open = max(self._max_open, len(self._open))
        self.none_open.clear()
        self._emit(Event.TRANSACTION_BEGUN, 1)
        self._rest(held)
        return held

    def _rest(self, held: HeldTransaction) -> None:
        self._alarm.set(held.id, min(self._loop.time() + held.idle_s, held.expires_at))

    def _take(self, id_: str, client: str | None) -> HeldTransaction:
        held = self.find(id_, client)
        if held.is_busy:
            raise TransactionBusy(
                "another request has this transaction; send one at a time, and wait for its answer"
            )
        held.is_busy = True
        self._alarm.set(id_, held.expires_at)
        return held

    def _release(self, held: HeldTransaction) -> None:
        held.is_busy = False
        if ending := held.find_ending():
            self._end(held, ending)
        else:
            self._rest(held)

    async def _finish(
        self, held: HeldTransaction, command: EndCommand, deadline: Deadline
    ) -> Answer:
        try:
            return await end_block(held, command, deadline)
        finally:
            self._release(held)

    def _expire(self, id_: str) -> None:
        held = self._open[id_]
        now = self._loop.time()
        reason = f"no request came for {held.idle_s:g} s (transactions.idle_s, idle_timeout_ms)"
        if now >= held.expires_at:
            life_s = held.expires_at - held.began_at
            reason = f"it was open for {life_s:g} s (transactions.timeout_s, timeout_ms)"
        ending = Ending(
            f"{reason}, so it was rolled back",
            event=Event.TRANSACTION_EXPIRED,
            kind=TransactionExpired,
        )
        self._stop(held, ending, partial(_make_expired, ending))

    def _stop(self, held: HeldTransaction, ending: Ending, cause: Cause) -> None:
        """End a transaction from outside; a request that has it gets `cause` and does the rest."""
        if not held.is_busy:
            self._end(held, ending)
            return
        held.ending = ending
        held.connection.cancel(cause)

    def _end(self, held: HeldTransaction, ending: Ending) -> None:
        """Give the connection back, which rolls back what is still open."""
        del self._open[held.id]
        self._alarm.clear(held.id)
        self._ended[held.id] = (self._loop.time(), ending)
        self._forget()
        held.connected.lanes.give_back(held.connection)
        self._emit(ending.event, self._loop.time() - held.began_at)
        if not self._open:
            self.none_open.set()

    def _forget(self) -> None:
        """Drop the endings that are too many, or too old."""
        oldest = self._loop.time() - REMEMBERED_S
        while self._ended and (
            len(self._ended) > REMEMBERED or next(iter(self._ended.values()))[0] < oldest
        ):
            self._ended.popitem(last=False)

    def _explain_absence(self, id_: str) -> ProxyError:
        self._forget()
        _, ending = self._ended.get(id_, (0.0, None))
        if ending is not None:
            return ending.to_error()
        return NotFound(
            "there is no transaction with this id; those that have ended are remembered for "
            f"{REMEMBERED_S / 60:g} minutes"
        )


def _make_expired(
    ending: Ending, _detail: str, *, executed: Executed, **_context: str
) -> ProxyError:
    error = ending.to_error()
    error.executed, error.phase = executed, "execute"
    return error
