"""A bulk load: one COPY … FROM STDIN, all or nothing, its data handed on as it comes."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from time import perf_counter

from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.flight import build_copy_flight, build_flight
from proxy.engine.sqlstate import statement_error
from proxy.engine.upstream import Connected, Upstream
from proxy.errors import DeadlineExceeded, InvalidRequest, ProxyError
from proxy.query.copy_ndjson import NdjsonSource, TableColumn
from proxy.query.copy_order import CopyOrder
from proxy.query.copy_source import CopySource, open_source
from proxy.query.execute import was_never_sent
from proxy.query.flight import list_settings
from proxy.sql.name import quote_names
from proxy.wire.answer import Answer, Discard
from proxy.wire.copy_feed import CopyFeed
from proxy.wire.messages import ServerMessage, parse_tag
from proxy.wire.rowset import RowSet

ATTEMPTS = 2
_PLACE = re.compile(r"^COPY .*?, line (\d+)(?:, column ([^:\n]+))?", re.MULTILINE)
_COLUMNS = b"""
select a.attname, coalesce(nullif(t.typbasetype, 0), t.oid)::text
from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
where a.attrelid = pg_catalog.to_regclass($1) and a.attnum > 0
      and not a.attisdropped and a.attgenerated = ''
order by a.attnum
"""


@dataclass(frozen=True, slots=True)
class CopyAnswer:
    """What became of a load, and what the log and the `Server-Timing` header say of it."""

    row_count: int
    notices: Sequence[ServerMessage]
    queue_s: float
    db_s: float


class CopyRunner:
    """Runs bulk loads on the upstream's lanes."""

    def __init__(self, upstream: Upstream, max_line_bytes: int) -> None:
        self._upstream = upstream
        self._max_line_bytes = max_line_bytes

    async def run(
        self, order: CopyOrder, pieces: AsyncIterator[bytes], deadline: Deadline
    ) -> CopyAnswer:
        """Load the body, whose end is the end of `pieces`; every error leaves the table as it was.

        Once more on another connection, where the first one was lost before it took any data.

        Raises:
            InvalidRequest, RequestTooLarge, RequestTimeout: the body is wrong, or doesn't come.
            PoolTimeout, QueueFull, UpstreamUnavailable, DeadlineExceeded: `executed` says more.
            SqlError: the server refused it; `line` and `column` say where, if the server did.
        """
        connected = self._upstream.connected
        version = connected.profile.server_version_num
        try:
            async with asyncio.timeout_at(deadline.at):
                source, first = await open_source(order, pieces, version, self._max_line_bytes)
        except TimeoutError as late:
            detail = "the first line of the body didn't come in time"
            raise DeadlineExceeded(detail, phase="request") from late
        for attempt in range(1, ATTEMPTS + 1):
            load = _Load(connected, order, source, deadline)
            try:
                return await load.run(first, pieces)
            except ProxyError as error:
                if attempt == ATTEMPTS or load.feed.is_accepted or not was_never_sent(error):
                    raise
        raise AssertionError("the last attempt returns or raises")


class _Load:
    """One attempt."""

    def __init__(
        self, connected: Connected, order: CopyOrder, source: CopySource, deadline: Deadline
    ) -> None:
        self._connected = connected
        self._order = order
        self._source = source
        self._deadline = deadline
        self.feed = CopyFeed()

    async def run(self, first: bytes, pieces: AsyncIterator[bytes]) -> CopyAnswer:
        lease = self._connected.lanes.lease(self._deadline)
        async with lease as connection:
            started = perf_counter()
            if isinstance(self._source, NdjsonSource):
                self._source.learn(await self._find_columns(connection))
            answer = await self._fly(connection, first, pieces)
            _check(answer)
            _, row_count = parse_tag(answer.tag or b"")
            db_s = perf_counter() - started
        return CopyAnswer(row_count or 0, answer.notices, lease.waited_s, db_s)

    async def _fly(
        self, connection: UpstreamConnection, first: bytes, pieces: AsyncIterator[bytes]
    ) -> Answer:
        feed, deadline = self.feed, self._deadline
        message = build_copy_flight(self._build_sql(), feed, self._list_settings())
        flight = asyncio.create_task(connection.run(message, Discard(), deadline, feed.fail))
        sending = asyncio.create_task(self._send(first, pieces))
        try:
            # whichever ends first: the server may refuse while the client has nothing to send
            await asyncio.wait((sending, flight), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
            return await flight
        except ProxyError as error:
            if not feed.is_complete:
                error.executed = "no"  # without its end no data is kept
            raise
        finally:
            sending.cancel()
            flight.cancel()
            await asyncio.gather(sending, flight, return_exceptions=True)

    async def _send(self, first: bytes, pieces: AsyncIterator[bytes]) -> None:
        feed, source = self.feed, self._source
        is_wanted = await feed.wait() and await feed.send(source.encode(first))
        while is_wanted and (piece := await anext(pieces, None)) is not None:
            is_wanted = await feed.send(source.encode(piece))
        if is_wanted and await feed.send(source.finish()):
            feed.finish()

    def _build_sql(self) -> bytes:
        columns = self._source.columns
        try:
            names = f" ({quote_names(columns)})" if columns else ""
        except ValueError as cause:
            raise InvalidRequest(f"the first line has no names of columns: {cause}") from cause
        return f"copy {self._order.table}{names} from stdin with ({self._source.options})".encode()

    def _list_settings(self) -> dict[str, str]:
        return list_settings(
            self._connected, {}, self._order.role, self._deadline, self._order.claims
        )

    async def _find_columns(self, connection: UpstreamConnection) -> list[TableColumn]:
        """Look up which type each column has; a table that isn't there has none."""
        rows = RowSet()
        table = self._order.table.encode()
        settings = self._list_settings()
        _check(
            await connection.run(
                build_flight(_COLUMNS, [table], settings=settings), rows, self._deadline
            )
        )
        columns = [((name or b"").decode(), int(oid or 0)) for name, oid in rows.rows]
        catalogue = self._connected.catalogue
        await catalogue.learn(connection, [oid for _, oid in columns], self._deadline)
        return [TableColumn(name, catalogue.types.get(oid)) for name, oid in columns]


def _check(answer: Answer) -> None:
    """Raise what the server has against the load."""
    message = answer.error
    if message is None:
        return
    error = statement_error(
        message, executed="no", in_prefix=answer.is_prefix_error, has_untyped=False
    )
    error.context.pop("position", None)  # in a statement that the client doesn't know
    place = _PLACE.search(message.where or "")
    if place is not None:
        error.context["line"] = int(place[1])
        error.context.setdefault("column", place[2])
    if answer.is_commit_error:
        error.phase = "commit"
    raise error
