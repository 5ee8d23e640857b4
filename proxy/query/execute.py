"""One statement, run in one flight, its whole answer in one body."""

from collections import OrderedDict
from functools import partial
from time import perf_counter
from typing import NamedTuple, TypeAlias

from proxy.encoders.json_rows import AnswerEncoder, Outcome
from proxy.encoders.row_encoder import RowShape
from proxy.engine.catalogue import TypeCatalogue
from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.upstream import Connected, Upstream
from proxy.errors import EncodingFailed, Executed, ProxyError, UpstreamUnavailable
from proxy.query.batch_rows import BatchRows
from proxy.query.buffer import RowBuffer
from proxy.query.flight import build_query_flight
from proxy.query.guard import check_query
from proxy.query.models import Query
from proxy.query.verdict import check_answer, check_limits, correct_executed, too_large
from proxy.wire.answer import Answer
from proxy.wire.messages import parse_row_description, parse_tag

ENCODERS = 512
NO_COLUMNS = b"\0\0"  # as a RowDescription says it

EncoderKey: TypeAlias = tuple[TypeCatalogue, bytes, RowShape]


class QueryAnswer(NamedTuple):
    """The JSON document, and what the log and the `Server-Timing` header say of it."""

    body: bytes
    row_count: int
    queue_s: float
    db_s: float
    encode_s: float


class QueryRunner:
    """Runs queries on the upstream's lanes."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._encoders: OrderedDict[EncoderKey, AnswerEncoder] = OrderedDict()

    async def run(self, query: Query, deadline: Deadline) -> QueryAnswer:
        """Run `query` and hold the encoded answer in memory.

        Once more on another connection, where the first one was lost and nothing was executed.

        Raises:
            PoolTimeout, QueueFull, UpstreamUnavailable: `executed` says what became of it.
            SqlError: the server rejected the statement; carries its SQLSTATE.
            ResultTooLarge: over a limit; the statement was executed.
            and those of `check_query`.
        """
        connected = self._upstream.connected
        check_query(query, connected.profile, connected.plan)
        try:
            return await self._run_once(connected, query, deadline)
        except UpstreamUnavailable as error:
            if not was_never_sent(error):
                raise
        return await self._run_once(connected, query, deadline)

    async def _run_once(
        self, connected: Connected, query: Query, deadline: Deadline
    ) -> QueryAnswer:
        lease = connected.lanes.lease(deadline)
        async with lease as connection:
            landed = await self._land(connected, connection, query, deadline)
        return _encode(landed, query, lease.waited_s)

    async def run_in(
        self,
        connected: Connected,
        connection: UpstreamConnection,
        query: Query,
        deadline: Deadline,
    ) -> QueryAnswer:
        """Run `query` on a connection whose open transaction is this request's.

        Raises:
            as `run`, but nothing of the queue.
        """
        check_query(query, connected.profile, connected.plan)
        return _encode(await self._land(connected, connection, query, deadline), query, 0.0)

    async def _land(
        self,
        connected: Connected,
        connection: UpstreamConnection,
        query: Query,
        deadline: Deadline,
    ) -> "_Landed":
        rows = RowBuffer(query.max_rows, query.max_bytes)
        started = perf_counter()
        answer = await _fly(connected, connection, query, rows, deadline)
        check_answer(answer, query)
        check_limits(rows, query)
        encoder = await self.find_encoder(connected, connection, rows, query, deadline)
        return _Landed(answer, rows, encoder, started, perf_counter() - started)

    async def find_encoder(
        self,
        connected: Connected,
        connection: UpstreamConnection,
        rows: RowBuffer,
        query: Query,
        deadline: Deadline,
    ) -> AnswerEncoder:
        """Find the encoder for a description; its very bytes are the key, so it's never stale."""
        catalogue, description = connected.catalogue, rows.description or NO_COLUMNS
        key = (catalogue, description, query.shape)
        encoder = self._encoders.get(key)
        if encoder is not None:
            self._encoders.move_to_end(key)
            return encoder
        fields = parse_row_description(description)
        oids = {field.type_oid for field in fields}
        await catalogue.learn(connection, oids, deadline)
        encoder = AnswerEncoder(fields, catalogue.types, query.shape)
        if oids <= catalogue.types.keys():
            self._encoders[key] = encoder
            if len(self._encoders) > ENCODERS:
                self._encoders.popitem(last=False)
        return encoder


class _Landed(NamedTuple):
    """A successful answer that has been received, but not encoded."""

    answer: Answer
    rows: RowBuffer
    encoder: AnswerEncoder
    started: float
    db_s: float


def _encode(landed: _Landed, query: Query, queue_s: float) -> QueryAnswer:
    answer, rows, encoder, started, db_s = landed
    try:
        outcome = describe_outcome(answer, rows, db_s)
        body = encoder.encode(rows.take_messages(), outcome)
    except EncodingFailed as error:
        error.executed = "no" if query.dry_run else "yes"
        raise
    if len(body) > query.max_bytes and query.on_exceed == "error":
        raise too_large("bytes", query)
    encode_s = perf_counter() - started - db_s
    return QueryAnswer(body, rows.row_count, queue_s, db_s, encode_s)


async def _fly(
    connected: Connected,
    connection: UpstreamConnection,
    query: Query,
    rows: RowBuffer,
    deadline: Deadline,
) -> Answer:
    flight = build_query_flight(connected, query, deadline)
    cancel_at_limit(rows, connection, query)
    try:
        return await connection.run(flight, rows, deadline)
    except ProxyError as error:
        correct_executed(error, query)
        raise


def was_never_sent(error: ProxyError) -> bool:
    """Whether the connection was lost before anything was executed, so that another may serve."""
    is_lost = isinstance(error, UpstreamUnavailable) and error.phase == "execute"
    return is_lost and error.executed == "no"


def cancel_at_limit(
    rows: RowBuffer | BatchRows, connection: UpstreamConnection, query: Query
) -> None:
    """Have a statement cancelled at its limit where nothing depends on the rest."""
    if query.read_only and query.on_exceed == "error":
        rows.on_exceed = partial(connection.cancel, partial(_cancelled_at_limit, rows, query))


def _cancelled_at_limit(
    rows: RowBuffer | BatchRows, query: Query, _detail: str, *, executed: Executed, **_context: str
) -> ProxyError:
    return too_large(rows.exceeded or "rows", query, executed=executed)


def describe_outcome(answer: Answer, rows: RowBuffer, elapsed_s: float) -> Outcome:
    """Say of a successful answer what stands beside its rows."""
    command, affected = parse_tag(answer.tag) if answer.tag is not None else (None, None)
    is_query = rows.description is not None
    return Outcome(
        row_count=rows.row_count if is_query or affected is None else affected,
        command=command,
        truncated=rows.exceeded is not None,
        notices=answer.notices,
        elapsed_ms=int(elapsed_s * 1e6) / 1000,  # round() takes ten times as long
    )
