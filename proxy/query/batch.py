"""Several statements of one request: in one flight, or each on its own."""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, islice
from random import uniform
from time import perf_counter
from typing import NamedTuple

import orjson

from proxy.encoders.json_rows import AnswerEncoder, Outcome
from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.flight import BatchStatement
from proxy.engine.upstream import Connected, Upstream
from proxy.errors import (
    EncodingFailed,
    NeedsBareFlight,
    ProxyError,
    SqlError,
    StatementNotAllowed,
)
from proxy.query.batch_body import Batch, Statement
from proxy.query.batch_rows import Allowance, BatchRows
from proxy.query.batch_series import BatchAnswer, Series
from proxy.query.buffer import RowBuffer
from proxy.query.execute import QueryRunner, cancel_at_limit, was_never_sent
from proxy.query.flight import build_batch
from proxy.query.guard import check_query
from proxy.query.models import Query
from proxy.query.verdict import check_answer, check_limits, correct_executed, too_large
from proxy.stats.events import Emit, Event
from proxy.wire.answer import Answer
from proxy.wire.messages import parse_tag

RETRY_S = 0.02  # before the first retry, twice as long before each other; half of it at random
_CONFLICTS = frozenset({"40001", "40P01"})


class _Order(NamedTuple):
    """Statements that are one transaction."""

    statements: Sequence[Statement]
    left: Allowance
    deadline: Deadline
    is_alone: bool = False  # a statement that has time and notices of its own

    @property
    def first(self) -> Query:
        return self.statements[0].query


class BatchRunner:
    """Runs batches on the upstream's lanes; `parallel` statements of one at the same time."""

    def __init__(self, upstream: Upstream, queries: QueryRunner, parallel: int, emit: Emit) -> None:
        self._upstream = upstream
        self._queries = queries
        self._parallel = parallel
        self._emit = emit

    async def run(self, batch: Batch, deadline: Deadline) -> BatchAnswer:
        """Run a batch in the mode that it asks for.

        Raises:
            as QueryRunner.run, with `statement_index` where one statement is to blame; in other
            modes than atomic only what concerns the whole.
        """
        if batch.mode == "atomic":
            return await self._run_again(batch, deadline)
        left = _allow(batch)

        async def run_one(statement: Statement) -> BatchAnswer:
            return await self._run_whole(_Order((statement,), left, deadline, is_alone=True))

        is_parallel = batch.mode == "parallel"
        started = perf_counter()
        answers = await Series(run_one, deadline).run(
            batch.statements, self._parallel if is_parallel else 1
        )
        waits = [answer.queue_s for answer in answers]
        queue_s = max(waits) if is_parallel else sum(waits)
        return BatchAnswer(
            results=[result for answer in answers for result in answer.results],
            notices=(),
            row_count=sum(answer.row_count for answer in answers),
            queue_s=queue_s,
            db_s=perf_counter() - started - queue_s,
        )

    async def run_in(
        self,
        connected: Connected,
        connection: UpstreamConnection,
        batch: Batch,
        deadline: Deadline,
    ) -> BatchAnswer:
        """Run a batch, in one flight, on a connection whose open transaction is this request's.

        Raises:
            as `run`, but nothing of the queue.
        """
        order = _Order(batch.statements, _allow(batch), deadline)
        _check(order.statements, connected)
        landed = await self._land(connected, connection, order, BatchRows(order.left))
        return _finish(landed, order, 0.0)

    async def _run_again(self, batch: Batch, deadline: Deadline) -> BatchAnswer:
        """Run it, and again after a conflict with others, as often as it's allowed to."""
        for attempt in range(batch.retry):
            try:
                return await self._run_whole(_Order(batch.statements, _allow(batch), deadline))
            except SqlError as error:
                if error.context.get("sqlstate") not in _CONFLICTS or error.executed != "no":
                    raise
                wait_s = RETRY_S * 2**attempt * uniform(0.5, 1)  # noqa: S311  # no secret
                if wait_s > deadline.remaining_s():
                    raise
                self._emit(Event.BATCH_RETRIED, 1)
                await asyncio.sleep(wait_s)
        return await self._run_whole(_Order(batch.statements, _allow(batch), deadline))

    async def _run_whole(self, order: _Order) -> BatchAnswer:
        """Run statements as one transaction; once more where nothing had been sent."""
        connected = self._upstream.connected
        _check(order.statements, connected)
        try:
            return await self._run_once(connected, order)
        except ProxyError as error:
            if not was_never_sent(error):
                raise
        return await self._run_once(connected, order)

    async def _run_once(self, connected: Connected, order: _Order) -> BatchAnswer:
        rows = BatchRows(order.left)
        lease = connected.lanes.lease(order.deadline)
        try:
            async with lease as connection:
                landed = await self._land(connected, connection, order, rows)
            return _finish(landed, order, lease.waited_s)
        except ProxyError:
            rows.give_back()
            raise

    async def _land(
        self,
        connected: Connected,
        connection: UpstreamConnection,
        order: _Order,
        rows: BatchRows,
    ) -> "_Landed":
        started = perf_counter()
        answer = await _fly(connected, connection, order, rows)
        encoders = [
            await self._queries.find_encoder(
                connected, connection, buffer, statement.query, order.deadline
            )
            for buffer, statement in zip(rows.buffers, order.statements, strict=True)
        ]
        return _Landed(answer, rows, encoders, perf_counter() - started)


class _Landed(NamedTuple):
    """The answer to a whole flight that has been received, but not encoded."""

    answer: Answer
    rows: BatchRows
    encoders: Sequence[AnswerEncoder]
    db_s: float


def _allow(batch: Batch) -> Allowance:
    first = batch.first
    return Allowance(first.max_rows, first.max_bytes, first.max_bytes)


async def _fly(
    connected: Connected, connection: UpstreamConnection, order: _Order, rows: BatchRows
) -> Answer:
    first = order.first
    statements = [
        BatchStatement(query.sql, sets, query.oids) for query, sets, _ in order.statements
    ]
    flight = build_batch(connected, statements, first, order.deadline)
    cancel_at_limit(rows, connection, first)
    try:
        answer = await connection.run(flight, rows, order.deadline)
    except ProxyError as error:
        correct_executed(error, first)
        raise
    _judge(answer, order.statements)
    check_limits(rows, first)
    return answer


def _check(statements: Sequence[Statement], connected: Connected) -> None:
    """Refuse what can't be part of a batch, as a query or at all, before it is sent."""
    is_several = len(statements) > 1 or len(statements[0].sets) > 1
    for index, statement in enumerate(statements):
        try:
            check_query(statement.query, connected.profile, connected.plan)
            if is_several:
                _check_shared(statement.query)
        except ProxyError as error:
            error.context["statement_index"] = index
            raise


def _check_shared(query: Query) -> None:
    statement = query.statement
    word = statement.keyword.upper()
    if statement.must_be_alone:
        raise NeedsBareFlight(f"{word} can't run in a transaction with others; send it alone")
    if statement.can_commit_inside and not query.in_transaction:  # where the server refuses it
        raise StatementNotAllowed(
            f"{word} can commit on its way, so that a batch with it is not all or nothing; send it "
            "alone, or in a batch of mode separate"
        )


def _judge(answer: Answer, statements: Sequence[Statement]) -> None:
    """Raise what a complete answer has against being a success."""
    ends = list(accumulate(len(statement.sets) for statement in statements))
    index = bisect_right(ends, len(answer.tags))
    try:
        check_answer(answer, statements[index].query)
    except ProxyError as error:
        if not (answer.is_prefix_error or answer.is_commit_error):
            error.context["statement_index"] = index
        raise


def _finish(landed: _Landed, order: _Order, queue_s: float) -> BatchAnswer:
    results = _encode(landed, order)
    return BatchAnswer(results, landed.answer.notices, landed.rows.row_count, queue_s, landed.db_s)


def _encode(landed: _Landed, order: _Order) -> list[bytes]:
    """Encode the results, within what the answer may still take."""
    (answer, rows, encoders, db_s), first = landed, order.first
    tags = iter((*answer.tags, answer.tag or b""))
    results: list[bytes] = []
    try:
        for statement, buffer, encoder in zip(
            order.statements, rows.buffers, encoders, strict=True
        ):
            ends = [parse_tag(tag) for tag in islice(tags, len(statement.sets))]
            counts = [count or 0 for _, count in ends]
            outcome = _describe(buffer, counts, ends[-1][0])
            if order.is_alone:
                outcome.notices, outcome.elapsed_ms = answer.notices, int(db_s * 1e6) / 1000
            document = encoder.encode(buffer.take_messages(), outcome)
            results.append(_add_counts(document, counts) if statement.has_sets else document)
    except EncodingFailed as error:
        error.executed = "no" if first.dry_run else "yes"
        error.context["statement_index"] = len(results)
        raise
    size = sum(map(len, results))
    if size > order.left.body_bytes and first.on_exceed == "error":
        raise too_large("bytes", first)
    order.left.body_bytes -= size
    return results


def _describe(rows: RowBuffer, counts: Sequence[int], command: str) -> Outcome:
    return Outcome(
        row_count=sum(counts) if rows.description is None else rows.row_count,
        command=command,
        truncated=rows.exceeded is not None,
        notices=(),
        elapsed_ms=None,
    )


def _add_counts(document: bytes, counts: Sequence[int]) -> bytes:
    return document[:-1] + b',"row_counts":' + orjson.dumps(counts) + b"}"
