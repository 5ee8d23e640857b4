"""Several statements of one request: in one flight, or each on its own."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import islice, repeat
from random import uniform
from time import perf_counter
from typing import NamedTuple

import orjson

from proxy.encoders.json_rows import AnswerEncoder, Outcome
from proxy.engine.deadline import Deadline
from proxy.engine.upstream import Connected, Upstream
from proxy.errors import (
    EncodingFailed,
    NeedsBareFlight,
    ProxyError,
    SqlError,
    StatementNotAllowed,
)
from proxy.query.batch_body import Batch, Statement
from proxy.query.batch_rows import BatchRows
from proxy.query.buffer import RowBuffer
from proxy.query.execute import QueryRunner, was_never_sent
from proxy.query.flight import build_batch
from proxy.query.guard import check_query
from proxy.query.models import Query
from proxy.query.verdict import check_answer, correct_executed, too_large
from proxy.wire.answer import Answer
from proxy.wire.messages import ServerMessage, parse_tag

RETRY_S = 0.02  # before the first retry, twice as long before each other; half of it at random
_CONFLICTS = frozenset({"40001", "40P01"})


class BatchAnswer(NamedTuple):
    """A JSON document, or an error, per statement, and what is said of them all."""

    results: Sequence[bytes | ProxyError]
    notices: Sequence[ServerMessage]
    row_count: int
    queue_s: float
    db_s: float


class BatchRunner:
    """Runs batches on the upstream's lanes; `parallel` statements of one at the same time."""

    def __init__(self, upstream: Upstream, queries: QueryRunner, parallel: int) -> None:
        self._upstream = upstream
        self._queries = queries
        self._parallel = parallel

    async def run(self, batch: Batch, deadline: Deadline) -> BatchAnswer:
        """Run a batch in the mode that it asks for.

        Raises:
            as QueryRunner.run, with `statement_index` where one statement is to blame; in other
            modes than atomic only what concerns the whole.
        """
        if batch.mode == "atomic":
            return await self._run_again(batch, deadline)
        width = self._parallel if batch.mode == "parallel" else 1
        room = asyncio.Semaphore(width)
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._run_alone(statement, room, deadline))
                for statement in batch.statements
            ]
        answers = [task.result() for task in tasks]
        return BatchAnswer(
            results=[result for answer in answers for result in answer.results],
            notices=[notice for answer in answers for notice in answer.notices],
            row_count=sum(answer.row_count for answer in answers),
            queue_s=sum(answer.queue_s for answer in answers),
            db_s=sum(answer.db_s for answer in answers),
        )

    async def _run_alone(
        self, statement: Statement, room: asyncio.Semaphore, deadline: Deadline
    ) -> BatchAnswer:
        """Run one statement as a transaction of its own; its error is its result."""
        async with room:
            try:
                return await self._run_whole((statement,), deadline)
            except ProxyError as error:
                error.context.pop("statement_index", None)
                return BatchAnswer([error], [], 0, 0.0, 0.0)

    async def _run_again(self, batch: Batch, deadline: Deadline) -> BatchAnswer:
        """Run it, and again after a conflict with others, as often as it's allowed to."""
        for attempt in range(batch.retry):
            try:
                return await self._run_whole(batch.statements, deadline)
            except SqlError as error:
                if error.context.get("sqlstate") not in _CONFLICTS or error.executed != "no":
                    raise
                wait_s = RETRY_S * 2**attempt * uniform(0.5, 1)  # noqa: S311  # no secret
                if wait_s > deadline.remaining_s():
                    raise
                await asyncio.sleep(wait_s)
        return await self._run_whole(batch.statements, deadline)

    async def _run_whole(self, statements: Sequence[Statement], deadline: Deadline) -> BatchAnswer:
        """Run statements as one transaction; once more where nothing had been sent."""
        connected = self._upstream.connected
        _check(statements, connected)
        try:
            return await self._fly(connected, statements, deadline)
        except ProxyError as error:
            if not was_never_sent(error):
                raise
        return await self._fly(connected, statements, deadline)

    async def _fly(
        self, connected: Connected, statements: Sequence[Statement], deadline: Deadline
    ) -> BatchAnswer:
        first = statements[0].queries[0]
        rows = BatchRows(first.max_rows, first.max_bytes)
        lease = connected.lanes.lease(deadline)
        async with lease as connection:
            started = perf_counter()
            sets = [statement.queries for statement in statements]
            flight = build_batch(connected, sets, deadline)
            try:
                answer = await connection.run(flight, rows, deadline)
            except ProxyError as error:
                correct_executed(error, first)
                raise
            _judge(answer, statements, rows)
            encoders = [
                await self._queries.find_encoder(connected, connection, buffer, query, deadline)
                for buffer, (query, *_) in zip(rows.buffers, sets, strict=True)
            ]
            db_s = perf_counter() - started
        tags = iter((*answer.tags, answer.tag or b""))
        try:
            results = list(map(_encode, encoders, statements, rows.buffers, repeat(tags)))
        except EncodingFailed as error:
            error.executed = "no" if first.dry_run else "yes"
            raise
        return BatchAnswer(results, answer.notices, rows.row_count, lease.waited_s, db_s)


def _check(statements: Sequence[Statement], connected: Connected) -> None:
    """Refuse what can't be part of a batch, as a query or at all, before it is sent."""
    is_several = len(statements) > 1 or len(statements[0].queries) > 1
    for index, statement in enumerate(statements):
        query = statement.queries[0]
        try:
            check_query(query, connected.profile, connected.plan)
            if is_several:
                _check_shared(query)
        except ProxyError as error:
            error.context["statement_index"] = index
            raise


def _check_shared(query: Query) -> None:
    statement = query.statement
    word = statement.keyword.upper()
    if statement.must_be_alone:
        raise NeedsBareFlight(f"{word} can't run in a transaction with others; send it alone")
    if statement.can_commit_inside:
        raise StatementNotAllowed(
            f"{word} can commit on its way, so that a batch with it is not all or nothing; send it "
            "alone, or in a batch of mode separate"
        )


def _judge(answer: Answer, statements: Sequence[Statement], rows: BatchRows) -> None:
    """Raise what a complete answer has against being a success."""
    places = [index for index, each in enumerate(statements) for _ in each.queries]
    index = places[len(answer.tags)]
    first = statements[0].queries[0]
    try:
        check_answer(answer, statements[index].queries[0])
    except ProxyError as error:
        if not (answer.is_prefix_error or answer.is_commit_error):
            error.context["statement_index"] = index
        raise
    if rows.exceeded is not None and first.on_exceed == "error":
        raise too_large(rows.exceeded, first)


def _encode(
    encoder: AnswerEncoder, statement: Statement, rows: RowBuffer, tags: Iterator[bytes]
) -> bytes:
    """Encode the result of one statement, which takes as many tags as it has sets of values."""
    ends = [parse_tag(tag) for tag in islice(tags, len(statement.queries))]
    counts = [count or 0 for _, count in ends]
    is_query = rows.description is not None
    outcome = Outcome(
        row_count=rows.row_count if is_query else sum(counts),
        command=ends[-1][0],
        truncated=rows.exceeded is not None,
        notices=(),
        elapsed_ms=None,
    )
    document = encoder.encode(rows.take_messages(), outcome)
    if not statement.has_sets:
        return document
    return document[:-1] + b',"row_counts":' + orjson.dumps(counts) + b"}"
