"""What a statement takes and returns, without running it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import orjson
from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from proxy.encoders.row_encoder import RowShape, describe_columns
from proxy.engine.deadline import Deadline
from proxy.engine.flight import build_describe_flight
from proxy.engine.upstream import Connected, Upstream
from proxy.errors import InvalidRequest, ProxyError, UpstreamUnavailable
from proxy.query.body import EXPECTED, Positive, QueryBody, check_sql, decode_body
from proxy.query.execute import was_never_sent
from proxy.query.flight import list_settings
from proxy.query.guard import check_single
from proxy.query.models import Query, QueryLimits, to_query
from proxy.query.verdict import check_answer
from proxy.sql.named import rewrite_named
from proxy.sql.types import SqlType
from proxy.wire.rowset import RowSet

_NULL = Raw(b"null")


class DescribeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON body; its members are those of a query."""

    sql: str
    types: list[str | None] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    role: str | None = None
    timeout_ms: Positive | None = None


_EXPECTED = {name: EXPECTED[name] for name in DescribeBody.__struct_fields__}
_decode_body = Decoder(DescribeBody).decode


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A statement to describe, and the names of its parameters where they have some."""

    query: Query
    names: Sequence[str]


@dataclass(frozen=True, slots=True)
class DescribeAnswer:
    """The JSON document, and what the `Server-Timing` header says of it."""

    body: bytes
    queue_s: float
    db_s: float


def parse_describe_body(data: bytes) -> DescribeBody:
    """Read the body.

    Raises:
        InvalidRequest: names the place and the remedy.
    """
    body = decode_body(data, _decode_body, _EXPECTED)
    check_sql(body.sql)
    return body


def to_inquiry(body: DescribeBody, limits: QueryLimits) -> Inquiry:
    """Check a body against the configuration.

    Raises:
        as `to_query`.
    """
    rewritten = rewrite_named(body.sql)
    if rewritten.mixes:
        raise InvalidRequest("sql has both $1 and :name parameters; use one kind")
    if rewritten.names and body.types:
        raise InvalidRequest("types are for $1, $2, …; write :name::type in the statement")
    whole = QueryBody(
        sql=rewritten.sql,
        # one more than types, so that an error about a type that isn't known has its hint
        params=[_NULL] * (len(body.types) + 1),
        types=body.types,
        settings=body.settings,
        role=body.role,
        timeout_ms=body.timeout_ms,
    )
    query = to_query(whole, limits)._replace(find_position=rewritten.position)
    check_single(query.statement)
    return Inquiry(query, rewritten.names)


class DescribeRunner:
    """Describes statements on the upstream's lanes."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def run(self, inquiry: Inquiry, deadline: Deadline) -> DescribeAnswer:
        """Ask the server in one flight; nothing is executed.

        Once more on another connection, where the first one was lost before.

        Raises:
            PoolTimeout, QueueFull, UpstreamUnavailable, DeadlineExceeded
            SqlError: the server doesn't understand the statement; carries its SQLSTATE.
        """
        connected = self._upstream.connected
        try:
            try:
                return await _run_once(connected, inquiry, deadline)
            except UpstreamUnavailable as error:
                if not was_never_sent(error):
                    raise
            return await _run_once(connected, inquiry, deadline)
        except ProxyError as error:
            error.executed = "no"  # whatever the statement is
            raise


async def _run_once(connected: Connected, inquiry: Inquiry, deadline: Deadline) -> DescribeAnswer:
    query, catalogue = inquiry.query, connected.catalogue
    rows = RowSet()
    lease = connected.lanes.lease(deadline)
    async with lease as connection:
        started = perf_counter()
        settings = list_settings(connected, query.settings, query.role, deadline)
        flight = build_describe_flight(query.sql, query.oids, settings)
        answer = await connection.run(flight, rows, deadline)
        check_answer(answer, query)
        oids = {*answer.parameter_oids, *(field.type_oid for field in rows.fields)}
        await catalogue.learn(connection, oids, deadline)
        db_s = perf_counter() - started
    document = {
        "params": _describe_params(answer.parameter_oids, inquiry.names, catalogue.types),
        "columns": describe_columns(rows.fields, catalogue.types, RowShape()),
    }
    return DescribeAnswer(orjson.dumps(document), lease.waited_s, db_s)


def _describe_params(
    oids: Sequence[int], names: Sequence[str], types: Mapping[int, SqlType]
) -> list[dict[str, object]]:
    kinds = [types.get(oid) for oid in oids]
    described = [
        {"type": kind.name if kind else str(oid), "oid": oid}
        for kind, oid in zip(kinds, oids, strict=True)
    ]
    if not names:
        return described
    return [{"name": name, **param} for name, param in zip(names, described, strict=True)]
