"""One statement, run in one flight, its rows handed on as they come."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from time import perf_counter

from proxy.encoders.stream_format import StreamFormat, StreamWish, open_format
from proxy.engine.catalogue import TypeCatalogue
from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.upstream import Connected, Upstream
from proxy.errors import EncodingFailed, ProxyError
from proxy.query.execute import NO_COLUMNS, cancel_at_limit, describe_outcome, was_never_sent
from proxy.query.flight import build_query_flight
from proxy.query.guard import check_query
from proxy.query.models import Query
from proxy.query.stream_buffer import StreamBuffer
from proxy.query.verdict import check_answer, check_limits, correct_executed
from proxy.stats.events import Emit, Event
from proxy.wire.answer import Answer
from proxy.wire.messages import parse_row_description

PING_S = 10.0  # silence after which a format that can says that it lives
ATTEMPTS = 2


class RowStream:
    """A statement under way."""

    def __init__(
        self,
        query: Query,
        buffer: StreamBuffer,
        flight: asyncio.Task[Answer],
        catalogue: TypeCatalogue,
    ) -> None:
        self._query = query
        self._catalogue = catalogue
        self._buffer = buffer
        self._flight = flight
        self._started = perf_counter()
        self._taken_rows = 0
        self.row_count = 0  # sent so far
        self.queue_s = 0.0
        self.first_s = 0.0  # until the first row, or the end

    async def start(self) -> None:
        """Wait for the first row or the end.

        Raises:
            ProxyError: the statement has failed, and nothing needs to be sent but that.
        """
        while not (self._buffer.is_over or self._buffer.row_count):
            await self._buffer.wait(PING_S)
        self.first_s = perf_counter() - self._started
        if self._flight.done():
            await self._finish()

    async def open_format(
        self, wish: StreamWish, request_id: str, deadline: Deadline
    ) -> StreamFormat:
        """Make the format for the columns; types not met before are looked up beside.

        Raises:
            UpstreamUnavailable, UpstreamAuth: that failed.
        """
        fields = parse_row_description(self._buffer.description or NO_COLUMNS)
        await self._catalogue.learn_beside({field.type_oid for field in fields}, deadline)
        return open_format(wish, fields, self._catalogue.types, request_id)

    async def chunks(self, form: StreamFormat) -> AsyncGenerator[bytes, None]:
        """Yield the whole body, piece by piece.

        Raises:
            ProxyError: the statement has failed; `executed` says what became of it.
        """
        messages = self._take()
        yield self._encode(form.head, messages)
        while messages or not self._buffer.is_over:
            yield self._encode(form.rows, messages) if messages else form.ping()
            self.row_count = self._taken_rows
            await self._buffer.wait(PING_S)
            messages = self._take()
        answer = await self._finish()
        elapsed_s = perf_counter() - self._started
        yield form.end(describe_outcome(answer, self._buffer, elapsed_s))

    def _take(self) -> bytes:
        messages = self._buffer.take()
        self._taken_rows = self._buffer.row_count
        return messages

    def _encode(self, encode: Callable[[bytes], bytes], messages: bytes) -> bytes:
        try:
            return encode(messages)
        except EncodingFailed as error:
            error.executed = "yes" if self._flight.done() else "unknown"
            raise

    async def _finish(self) -> Answer:
        """Judge the complete answer."""
        try:
            answer = await self._flight
        except ProxyError as error:
            correct_executed(error, self._query)
            raise
        check_answer(answer, self._query)
        check_limits(self._buffer, self._query)
        if self._buffer.cut_by is not None:
            detail = "the statement ended before it could be cancelled, but rows are missing"
            raise self._buffer.cut_by(detail, phase="stream", executed="yes")
        return answer


class StreamRunner:
    """Runs streams on the upstream's lanes."""

    def __init__(self, upstream: Upstream, emit: Emit) -> None:
        self._upstream = upstream
        self._emit = emit

    @asynccontextmanager
    async def open(self, query: Query, deadline: Deadline) -> AsyncIterator[RowStream]:
        """Run `query` as long as the block lasts, which begins with the first row or the end.

        Leaving the block early cancels the statement. Once more on another connection, where the
        first one was lost and nothing was executed.

        Raises:
            as QueryRunner.run; from `RowStream.chunks` on what fails later.
        """
        connected = self._upstream.connected
        check_query(query, connected.profile, connected.plan)
        for attempt in range(1, ATTEMPTS + 1):
            async with AsyncExitStack() as stack:
                lease = connected.lanes.lease(deadline)
                connection = await stack.enter_async_context(lease)
                flying = self._fly(connected, connection, query, deadline)
                stream = await stack.enter_async_context(flying)
                stream.queue_s = lease.waited_s
                try:
                    await stream.start()
                except ProxyError as error:
                    if attempt < ATTEMPTS and was_never_sent(error):
                        continue
                    raise
                yield stream
                return

    @asynccontextmanager
    async def open_in(
        self,
        connected: Connected,
        connection: UpstreamConnection,
        query: Query,
        deadline: Deadline,
    ) -> AsyncIterator[RowStream]:
        """Run `query` in the same way on a connection whose open transaction is this request's.

        Left early, the statement still runs: the connection is given back as it is.
        """
        check_query(query, connected.profile, connected.plan)
        async with self._fly(connected, connection, query, deadline) as stream:
            await stream.start()
            yield stream

    @asynccontextmanager
    async def _fly(
        self,
        connected: Connected,
        connection: UpstreamConnection,
        query: Query,
        deadline: Deadline,
    ) -> AsyncIterator[RowStream]:
        on_pause = partial(self._emit, Event.STREAM_PAUSED, 1)
        buffer = StreamBuffer(connection.lane, query.max_rows, query.max_bytes, on_pause)
        cancel_at_limit(buffer, connection, query)
        flight = asyncio.create_task(
            connection.run(
                build_query_flight(connected, query, deadline), buffer, deadline, buffer.cut
            )
        )
        flight.add_done_callback(buffer.finish)
        try:
            yield RowStream(query, buffer, flight, connected.catalogue)
        finally:
            flight.cancel()
            await asyncio.gather(flight, return_exceptions=True)  # whoever is here knows why
