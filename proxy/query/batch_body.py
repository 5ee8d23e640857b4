"""The body of a batch, as it comes, and the queries that it asks for."""

from collections.abc import Sequence
from itertools import islice
from typing import Annotated, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Raw, Struct, field, structs
from msgspec.json import Decoder

from proxy.engine.flight import Isolation
from proxy.errors import InvalidRequest, ProxyError
from proxy.query.body import (
    EXPECTED,
    INNER_LIMITS,
    AnswerLimits,
    Positive,
    QueryBody,
    Tag,
    check_sql,
    decode_body,
)
from proxy.query.models import Query, QueryLimits, order_params, to_query
from proxy.query.params import encode_params
from proxy.sql.named import rewrite_named

BatchMode: TypeAlias = Literal["atomic", "separate", "parallel"]
ParamSet: TypeAlias = list[Raw] | dict[str, Raw]
MAX_RETRIES = 3


class StatementBody(Struct, frozen=True, forbid_unknown_fields=True):
    """One statement of a batch."""

    sql: str
    params: ParamSet = field(default_factory=list)
    param_sets: list[ParamSet] | None = None
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
_INNER = {**INNER_LIMITS, "statements": StatementBody.__struct_fields__}
_SHARED = {*BatchBody.__struct_fields__} & {*QueryBody.__struct_fields__}
_decode_batch = Decoder(BatchBody).decode


class Statement(NamedTuple):
    """One statement of a batch, and the values to run it with, once for each of their sets."""

    query: Query  # with the first set
    sets: Sequence[Sequence[bytes | None]]
    has_sets: bool


class Batch(NamedTuple):
    """A batch, checked; its statements have the same options, limits and deadline."""

    statements: tuple[Statement, ...]
    mode: BatchMode
    retry: int

    @property
    def first(self) -> Query:
        """Any query of it, for what all of them share."""
        return self.statements[0].query


def parse_batch(data: bytes) -> BatchBody:
    """Read the JSON body of a batch.

    Raises:
        InvalidRequest: names the place and the remedy, never a parameter's value.
    """
    return decode_body(data, _decode_batch, EXPECTED_BATCH, _INNER)


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
    query = to_query(QueryBody(**{**members, **shared, "params": sets[0]}), limits)
    return Statement(query, _encode_sets(statement, sets, query), statement.param_sets is not None)


def _read_sets(statement: StatementBody) -> Sequence[ParamSet]:
    if statement.param_sets is None:
        return [statement.params]
    if statement.params:
        raise InvalidRequest("params and param_sets don't go together; send one of them")
    if not statement.param_sets:
        raise InvalidRequest("param_sets is empty; leave the statement out")
    return statement.param_sets


def _encode_sets(
    statement: StatementBody, sets: Sequence[ParamSet], first: Query
) -> Sequence[Sequence[bytes | None]]:
    """Encode the other sets of values like the first; there may be very many."""
    has_names = isinstance(sets[0], dict)
    names = rewrite_named(statement.sql).names if has_names else None
    encoded: list[tuple[bytes | None, ...]] = [first.values]
    others = (_encode_set(each, names, statement.types, first) for each in islice(sets, 1, None))
    try:
        encoded.extend(others)
    except InvalidRequest as error:
        raise InvalidRequest(f"param_sets[{len(encoded)}]: {error.detail}") from error
    return encoded


def _encode_set(
    params: ParamSet, names: Sequence[str] | None, types: Sequence[str | None], first: Query
) -> tuple[bytes | None, ...]:
    if isinstance(params, dict) is (names is None):
        raise InvalidRequest("the first one is of the other kind; send arrays, or objects")
    values = order_params(names or (), params) if isinstance(params, dict) else params
    encoded = encode_params(values, types)
    if encoded.oids != first.oids:
        raise InvalidRequest(
            "not as many values as the first one has, or others in bytes ($bytea); give each set "
            "the same, and say the types in types"
        )
    return encoded.values
