"""Statements of one request that run each on its own, one after the other or several at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from proxy.engine.deadline import Deadline
from proxy.errors import DeadlineExceeded, Draining, ProxyError, QueryCanceled
from proxy.query.batch_body import Statement
from proxy.wire.messages import ServerMessage


class BatchAnswer(NamedTuple):
    """A JSON document, or an error, per statement, and what is said of them all."""

    results: Sequence[bytes | ProxyError]
    notices: Sequence[ServerMessage]
    row_count: int
    queue_s: float
    db_s: float


class Series:
    """Runs statements one by one; a failure is the result of its statement alone.

    What ends the request as a whole ends the series: what hasn't been sent by then never is.
    """

    def __init__(
        self, run: Callable[[Statement], Awaitable[BatchAnswer]], deadline: Deadline
    ) -> None:
        self._run = run
        self._deadline = deadline
        self._end: type[ProxyError] | None = None

    async def run(self, statements: Sequence[Statement], width: int) -> list[BatchAnswer]:
        """Run them in their order, up to `width` at once."""
        answers: dict[int, BatchAnswer] = {}
        pending = iter(enumerate(statements))

        async def work() -> None:
            for index, statement in pending:
                answers[index] = await self._run_one(statement)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(width, len(statements))):
                group.create_task(work())
        return [answers[index] for index in range(len(statements))]

    async def _run_one(self, statement: Statement) -> BatchAnswer:
        try:
            self._check_end()
            return await self._run(statement)
        except ProxyError as error:
            if isinstance(error, DeadlineExceeded | Draining | QueryCanceled):
                self._end = type(error)
            error.context.pop("statement_index", None)
            return BatchAnswer([error], (), 0, 0.0, 0.0)

    def _check_end(self) -> None:
        if self._deadline.remaining_s() == 0:
            self._end = self._end or DeadlineExceeded
        if self._end is not None:
            detail = "the batch had ended before this statement was sent"
            raise self._end(detail, phase="queue")
