"""One statement, run in one flight, its whole answer in one body."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter

from proxy.encoders.json_rows import Outcome, encode_answer
from proxy.encoders.rows import RowEncoder, RowShape
from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.flight import build_flight
from proxy.engine.sqlstate import statement_error
from proxy.engine.upstream import Upstream
from proxy.errors import Executed, InvalidRequest, ResultTooLarge, StatementNotAllowed
from proxy.query.buffer import RowBuffer
from proxy.query.models import Query
from proxy.query.params import INFERRED
from proxy.wire.answer import Answer
from proxy.wire.messages import parse_row_description, parse_tag

BACKSTOP_S = 1.0  # statement_timeout comes this long after our own deadline
ENCODERS = 512

# An error after some of these may leave what they committed on the way
_COMMIT_INSIDE = (b"call", b"do", b"vacuum", b"create", b"drop", b"reindex", b"alter", b"cluster")


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """The JSON document, and what the log and the `Server-Timing` header say of it."""

    body: bytes
    row_count: int
    queue_s: float
    db_s: float
    encode_s: float


class QueryRunner:
    """Runs queries on the upstream's lanes; `session_settings` hold for each of them."""

    def __init__(self, upstream: Upstream, session_settings: Mapping[str, str]) -> None:
        self._upstream = upstream
        self._session_settings = session_settings
        self._encoders: OrderedDict[tuple[bytes, RowShape], RowEncoder] = OrderedDict()

    async def run(self, query: Query, deadline: Deadline) -> QueryAnswer:
        """Run `query` and hold the encoded answer in memory.

        Raises:
            PoolTimeout, QueueFull, UpstreamUnavailable: `executed` says what became of it.
            SqlError: the server rejected the statement; carries its SQLSTATE.
            ResultTooLarge: over a limit; the statement was executed.
            StatementNotAllowed, InvalidRequest: it can't be run here.
        """
        rows = RowBuffer(query.max_rows, query.max_bytes)
        lease = self._upstream.connected.lanes.lease(deadline)
        async with lease as connection:
            started = perf_counter()
            answer = await self._fly(connection, query, rows, deadline)
            _check_answer(answer, query)
            _check_limits(rows, query)
            encoder = await self._find_encoder(connection, rows.description, query, deadline)
            db_s = perf_counter() - started
        body = _encode(answer, rows, encoder, db_s)
        if len(body) > query.max_bytes and query.on_exceed == "error":
            raise _too_large("bytes", query)
        return QueryAnswer(
            body, rows.row_count, lease.waited_s, db_s, encode_s=perf_counter() - started - db_s
        )

    async def _fly(
        self, connection: UpstreamConnection, query: Query, rows: RowBuffer, deadline: Deadline
    ) -> Answer:
        settings = {**self._session_settings, **query.settings}
        if settings:
            backstop_ms = round((deadline.remaining_s() + BACKSTOP_S) * 1000)
            settings = {"statement_timeout": str(backstop_ms), **settings}  # the last one wins
        flight = build_flight(
            query.sql,
            query.values,
            query.oids,
            settings=settings,
            max_rows=query.max_rows + 1 if query.on_exceed == "truncate" else 0,
        )
        return await connection.run(flight, rows, deadline, prefixes=1 if settings else 0)

    async def _find_encoder(
        self,
        connection: UpstreamConnection,
        description: bytes | None,
        query: Query,
        deadline: Deadline,
    ) -> RowEncoder:
        """Find the encoder for a description; its very bytes are the key, so it's never stale."""
        key = (description or b"\0\0", query.shape)
        encoder = self._encoders.get(key)
        if encoder is not None:
            self._encoders.move_to_end(key)
            return encoder
        fields = parse_row_description(key[0])
        oids = {field.type_oid for field in fields}
        catalogue = self._upstream.connected.catalogue
        await catalogue.learn(connection, oids, deadline)
        encoder = RowEncoder(fields, catalogue.types, query.shape)
        if oids <= catalogue.types.keys():
            self._encoders[key] = encoder
            if len(self._encoders) > ENCODERS:
                self._encoders.popitem(last=False)
        return encoder


def _check_answer(answer: Answer, query: Query) -> None:
    if answer.copy is not None:
        raise StatementNotAllowed(
            "COPY can't move data through this endpoint; select the rows, or insert them"
        )
    if answer.error is not None:
        raise statement_error(
            answer.error,
            executed=_executed(query.sql),
            in_prefix=answer.is_prefix_error,
            has_untyped=INFERRED in query.oids,
        )
    if answer.is_empty:
        raise InvalidRequest("sql holds no statement")
    if answer.status != "I":
        raise StatementNotAllowed(
            "a transaction can't be left open here, since no other request would reach it; "
            "it was rolled back"
        )


def _executed(sql: bytes) -> Executed:
    """Whether a failed statement can have left something behind."""
    return "unknown" if sql.lstrip().lower().startswith(_COMMIT_INSIDE) else "no"


def _check_limits(rows: RowBuffer, query: Query) -> None:
    if rows.exceeded is not None and query.on_exceed == "error":
        raise _too_large(rows.exceeded, query)


def _too_large(what: str, query: Query) -> ResultTooLarge:
    limit = f"{query.max_rows} rows" if what == "rows" else f"{query.max_bytes} bytes"
    return ResultTooLarge(
        f"the answer has more than {limit}; ask for less, raise limits.{what} as far as the "
        'service allows, or take what fits with limits.on_exceed "truncate"',
        executed="yes",
    )


def _encode(answer: Answer, rows: RowBuffer, encoder: RowEncoder, db_s: float) -> bytes:
    command, affected = parse_tag(answer.tag) if answer.tag is not None else (None, None)
    is_query = rows.description is not None
    outcome = Outcome(
        row_count=rows.row_count if is_query or affected is None else affected,
        command=command,
        truncated=rows.exceeded is not None,
        notices=answer.notices,
        elapsed_ms=round(db_s * 1000, 3),
    )
    return encode_answer(encoder.columns, encoder.encode(rows.messages, b","), outcome)
