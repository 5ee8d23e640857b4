"""A transaction block on a connection: how it's begun, taken up again, and ended."""

from typing import Literal, TypeAlias

from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.flight import build_begin_flight, build_end_flight
from proxy.engine.sqlstate import statement_error
from proxy.engine.upstream import Connected
from proxy.errors import ProxyError, TransactionFailed, UpstreamUnavailable
from proxy.query import transaction, verdict
from proxy.query.flight import list_settings
from proxy.query.transaction import Ending, HeldTransaction
from proxy.query.transaction_body import TransactionOrder
from proxy.wire.answer import Answer, Discard

ATTEMPTS = 2

EndCommand: TypeAlias = Literal["commit", "rollback"]


async def begin_block(
    connected: Connected, order: TransactionOrder, deadline: Deadline
) -> UpstreamConnection:
    """Begin on a connection; on another one where the first was lost, since nothing has begun."""
    for attempt in range(1, ATTEMPTS + 1):
        connection = await connected.lanes.borrow(deadline)
        is_begun = False
        try:
            await _send_begin(connected, connection, order, deadline)
            is_begun = True
        except UpstreamUnavailable:
            if attempt == ATTEMPTS:
                raise
        finally:
            if not is_begun:
                connected.lanes.give_back(connection)
        if is_begun:
            return connection
    raise AssertionError("the last attempt returns or raises")


async def _send_begin(
    connected: Connected,
    connection: UpstreamConnection,
    order: TransactionOrder,
    deadline: Deadline,
) -> None:
    life = Deadline.after(order.timeout_s)
    settings = list_settings(connected, order.settings, order.role, life, order.claims)
    flight = build_begin_flight(order.transaction, settings)
    try:
        answer = await connection.run(flight, Discard(), deadline)
    except ProxyError as error:
        error.executed = "no"
        raise
    if answer.error is not None:
        raise statement_error(answer.error, executed="no", in_prefix=True, has_untyped=False)


async def regain_block(held: HeldTransaction) -> None:
    """Wait until the connection can take a flight.

    Raises:
        UpstreamUnavailable: it has been lost.
        TransactionEnded: the transaction's time is over.
    """
    is_there = await held.connection.regain()
    if held.ending is not None:
        raise held.ending.to_error()
    if not is_there:
        error = UpstreamUnavailable(
            "the connection of the transaction was lost, so the server has rolled it back",
            phase="execute",
        )
        error.is_transient = False
        raise error


async def end_block(held: HeldTransaction, command: EndCommand, deadline: Deadline) -> Answer:
    """Send COMMIT or ROLLBACK, and note how the transaction has ended.

    Raises:
        as `TransactionBook.end`.
    """
    await regain_block(held)
    end = _commit if command == "commit" else _roll_back
    try:
        return await end(held, deadline)
    except ProxyError as error:
        error.is_transient = False  # there is nothing left to send it to
        raise


async def _roll_back(held: HeldTransaction, deadline: Deadline) -> Answer:
    held.ending = transaction.ROLLED_BACK  # even where the connection is lost
    try:
        return await held.connection.run(build_end_flight("rollback"), Discard(), deadline)
    except ProxyError as error:
        error.executed = "no"
        raise


async def _commit(held: HeldTransaction, deadline: Deadline) -> Answer:
    held.ending = transaction.COMMIT_LOST
    try:
        flight = build_end_flight("commit", proves_read_only=held.proves_read_only)
        answer = await held.connection.run(flight, Discard(), deadline)
        _check_commit(answer)
    except ProxyError as error:
        held.ending = _judge(error)
        raise
    held.ending = transaction.COMMITTED
    return answer


def _judge(error: ProxyError) -> Ending:
    """Say what became of a transaction whose COMMIT failed."""
    error.phase = "commit"
    if isinstance(error, UpstreamUnavailable):
        error.executed = "unknown"  # whatever its last words, it had been sent
    return transaction.COMMIT_LOST if error.executed == "unknown" else transaction.COMMIT_FAILED


def _check_commit(answer: Answer) -> None:
    if answer.error is not None:
        raise statement_error(answer.error, executed="no", in_prefix=False, has_untyped=False)
    if answer.tag == verdict.ROLLED_BACK:
        raise TransactionFailed(
            "a statement of the transaction had failed, so COMMIT rolled it back; nothing of it "
            "took effect"
        )
