"""The body of a batch, as it comes, and the queries that it asks for."""

from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Raw, Struct, field, structs
from msgspec.json import Decoder

from proxy.engine.flight import Isolation
from proxy.errors import InvalidRequest, ProxyError
from proxy.query.body import (
    EXPECTED,
    AnswerLimits,
    Positive,
    QueryBody,
    Tag,
    check_sql,
    decode_body,
)
from proxy.query.models import Query, QueryLimits, to_query

BatchMode: TypeAlias = Literal["atomic", "separate", "parallel"]
MAX_RETRIES = 3


class StatementBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One statement of a batch."""

    sql: str
    params: list[Raw] | dict[str, Raw] = field(default_factory=list)
    param_sets: list[list[Raw] | dict[str, Raw]] | None = None
    types: list[str | None] = field(default_factory=list)
    rows: Literal["objects", "arrays"] = "objects"
    int8: Literal["number", "string"] = "number"
    numeric: Literal["string", "number"] = "string"


class BatchBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON body of a batch; what stands beside the statements holds for all of them."""

    statements: list[StatementBody]
    mode: BatchMode = "atomic"
    limits: AnswerLimits = AnswerLimits()
    timeout_ms: Positive | None = None
    settings: dict[str, str] = field(default_factory=dict)
    role: str | None = None
    isolation: Isolation | None = None
    read_only: bool = False
    dry_run: bool = False
    claims: dict[str, Raw] | None = None
    tag: Tag | None = None
    retry: Annotated[int, Meta(ge=0, le=MAX_RETRIES)] = 0


EXPECTED_BATCH = {
    **{name: EXPECTED[name] for name in BatchBody.__struct_fields__ if name in EXPECTED},
    "statements": "an array of objects, each with sql and what /v1/query has for one statement: "
    "params or param_sets, types, rows, int8, numeric",
    "mode": '"atomic", "separate" or "parallel"',
    "retry": f"a whole number from 0 to {MAX_RETRIES}",
}
_SHARED = {*BatchBody.__struct_fields__} & {*QueryBody.__struct_fields__}
_decode_batch = Decoder(BatchBody).decode


class Statement(NamedTuple):
    """One statement of a batch: a query for each of its sets of values."""

    queries: tuple[Query, ...]
    has_sets: bool


class Batch(NamedTuple):
    """A batch, checked; its statements have the same options, limits and deadline."""

    statements: tuple[Statement, ...]
    mode: BatchMode
    retry: int

    @property
    def first(self) -> Query:
        """Any query of it, for what all of them share."""
        return self.statements[0].queries[0]


def parse_batch(data: bytes) -> BatchBody:
    """Read the JSON body of a batch.

    Raises:
        InvalidRequest: names the place and the remedy, never a parameter's value.
    """
    return decode_body(data, _decode_batch, EXPECTED_BATCH)


def to_batch(body: BatchBody, limits: QueryLimits, max_statements: int) -> Batch:
    """Check a batch against the configuration.

    Raises:
        InvalidRequest: it has no statements, or too many; or as `to_query`, with the
            `statement_index`.
        RequestTooLarge, Forbidden: as `to_query`.
    """
    if not body.statements:
        raise InvalidRequest("statements is empty; send at least one")
    if len(body.statements) > max_statements:
        raise InvalidRequest(
            f"{len(body.statements)} statements are more than the {max_statements} that "
            "limits.batch_statements allows; send several batches, or param_sets"
        )
    if body.retry and body.mode != "atomic":
        raise InvalidRequest("retry is for mode atomic, which runs again as a whole")
    statements = []
    for index, statement in enumerate(body.statements):
        try:
            statements.append(_to_statement(statement, body, limits))
        except ProxyError as error:
            error.context["statement_index"] = index
            raise
    return Batch(tuple(statements), body.mode, body.retry)


def _to_statement(statement: StatementBody, body: BatchBody, limits: QueryLimits) -> Statement:
    check_sql(statement.sql)
    sets = _read_sets(statement)
    members = structs.asdict(statement)
    del members["param_sets"]
    shared = {name: getattr(body, name) for name in _SHARED}
    queries = [
        to_query(QueryBody(**{**members, **shared, "params": each}), limits) for each in sets
    ]
    if any(query.oids != queries[0].oids or query.sql != queries[0].sql for query in queries):
        raise InvalidRequest(
            "the sets of param_sets differ in the types of their values ($bytea); say them in types"
        )
    return Statement(tuple(queries), statement.param_sets is not None)


def _read_sets(statement: StatementBody) -> Sequence[list[Raw] | dict[str, Raw]]:
    if statement.param_sets is None:
        return [statement.params]
    if statement.params:
        raise InvalidRequest("params and param_sets don't go together; send one of them")
    if not statement.param_sets:
        raise InvalidRequest("param_sets is empty; leave the statement out")
    return statement.param_sets
