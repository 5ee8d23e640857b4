"""What an answer means: a success, or which error."""

import sys
from typing import Literal

from proxy.engine.sqlstate import statement_error
from proxy.errors import (
    DeadlineExceeded,
    Draining,
    Executed,
    InvalidRequest,
    ProxyError,
    QueryCanceled,
    ResultTooLarge,
    StatementNotAllowed,
)
from proxy.query.batch_rows import BatchRows
from proxy.query.buffer import RowBuffer
from proxy.query.models import Query
from proxy.query.params import INFERRED
from proxy.wire.answer import Answer
from proxy.wire.messages import ServerMessage

ROLLED_BACK = b"ROLLBACK\0"  # what COMMIT of a failed transaction says: no error, and no success


def check_answer(answer: Answer, query: Query) -> None:
    """Raise what a complete answer has against being a success."""
    if answer.copy is not None:
        detail = "COPY can't move data through this endpoint"
        raise StatementNotAllowed(detail, phase="execute")
    if answer.error is not None:
        raise _make_error(answer, answer.error, query)
    if answer.is_empty:
        raise InvalidRequest("sql holds no statement")
    _check_end(answer, query)


def _make_error(answer: Answer, message: ServerMessage, query: Query) -> ProxyError:
    error = statement_error(
        message,
        executed="no" if answer.is_prefix_error else executed_after_error(query),
        in_prefix=answer.is_prefix_error,
        has_untyped=INFERRED in query.oids,
    )
    position = error.context.get("position")
    if isinstance(position, int):
        error.context["position"] = query.find_position(position)
    if answer.is_commit_error:
        error.phase = "commit"
    if query.in_transaction:
        error.is_transient = False  # what may be run again is the whole transaction
    return error


def _check_end(answer: Answer, query: Query) -> None:
    """Raise for a transaction that isn't in the state in which its statement should leave it."""
    if query.in_transaction:
        if answer.status == "I":
            detail = "the statement ended the transaction; POST to its /commit or /rollback"
            raise StatementNotAllowed(detail, phase="execute", executed="unknown")
        return
    if answer.status != "I":
        detail = "a transaction was left open; it was rolled back"
        raise StatementNotAllowed(detail, phase="execute")
    if ROLLED_BACK in (answer.tag, answer.end_tag) and not query.dry_run:
        raise ProxyError("COMMIT was answered by ROLLBACK", phase="commit")


def correct_executed(error: ProxyError, query: Query) -> None:
    """Say `unknown` of a cancelled statement that may have committed on its way.

    In an open transaction nothing can have taken effect, and nothing can be sent again.
    """
    if query.in_transaction:
        error.executed = "no" if error.executed == "unknown" else error.executed
        error.is_transient = False
        return
    if isinstance(error, DeadlineExceeded | Draining | QueryCanceled) and error.phase == "execute":
        error.executed = error.executed if error.executed != "no" else executed_after_error(query)


def executed_after_error(query: Query) -> Executed:
    """Whether a failed statement can have left something behind."""
    can_commit = query.statement.can_commit_inside and not query.in_transaction
    return "unknown" if can_commit else "no"


def check_limits(rows: RowBuffer | BatchRows, query: Query) -> None:
    """Raise ResultTooLarge where rows had to be dropped and the client wants none of that."""
    if rows.exceeded is not None and query.on_exceed == "error":
        raise too_large(rows.exceeded, query)


def too_large(
    what: Literal["rows", "bytes"], query: Query, *, executed: Executed | None = None
) -> ResultTooLarge:
    """Make the error of an answer over its limit."""
    executed = executed or ("no" if query.dry_run else "yes")
    if what == "bytes" and query.max_bytes == sys.maxsize:  # a stream: only one row can be too much
        detail = "a row is larger than limits.message_bytes; select less of it"
        return ResultTooLarge(detail, executed=executed)
    limit = f"{query.max_rows} rows" if what == "rows" else f"{query.max_bytes} bytes"
    return ResultTooLarge(
        f"the answer has more than {limit}; ask for less, raise limits.{what} as far as the "
        'service allows, or take what fits with limits.on_exceed "truncate"',
        executed=executed,
    )
