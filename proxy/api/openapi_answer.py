"""The answers' documents, as `/openapi.json` describes them; the tests compare both."""

from datetime import datetime
from typing import Any, Literal, TypeAlias

from msgspec import UNSET, Struct, UnsetType

from proxy.encoders.row_encoder import Column
from proxy.errors import Executed, Phase
from proxy.wire.messages import ServerMessage

Object: TypeAlias = dict[str, Any]  # that docs/reference/api.md alone describes
Row: TypeAlias = Object | list[Any]


class Problem(Struct):
    """What went wrong (RFC 9457); null where there is nothing to say."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    sqlstate: str | None
    severity: str | None
    pg_detail: str | None
    hint: str | None
    position: int | None
    schema: str | None
    table: str | None
    column: str | None
    constraint: str | None
    line: int | None
    phase: Phase
    executed: Executed
    retryable: bool
    retry_after_ms: int | None
    statement_index: int | None


class QueryAnswer(Struct):
    """The rows of one statement, and what the server said of it."""

    columns: list[Column]
    rows: list[Row]
    row_count: int
    command: str | None
    truncated: bool
    notices: list[ServerMessage]
    elapsed_ms: float


class PartialAnswer(Struct):
    """The same of a stream, or of one statement of a batch; where it failed, `error` says why."""

    columns: list[Column] | UnsetType = UNSET
    rows: list[Row] | UnsetType = UNSET
    row_count: int | UnsetType = UNSET
    command: str | UnsetType | None = UNSET
    truncated: bool | UnsetType = UNSET
    notices: list[ServerMessage] | UnsetType = UNSET
    elapsed_ms: float | UnsetType | None = UNSET
    row_counts: list[int] | UnsetType = UNSET  # with param_sets
    error: Problem | UnsetType | None = UNSET


class BatchAnswer(Struct):
    """The results of a batch, in the order of its statements."""

    results: list[PartialAnswer]
    notices: list[ServerMessage]
    elapsed_ms: float


class CopyAnswer(Struct):
    """What a bulk load did."""

    row_count: int
    command: str
    notices: list[ServerMessage]
    elapsed_ms: float


class TransactionAnswer(Struct):
    """The state of an open transaction; its `id` is a secret."""

    id: str
    state: Literal["idle", "busy", "failed"]
    age_ms: float
    idle_timeout_ms: int
    expires_at: datetime


class EndAnswer(Struct):
    """How a transaction was ended."""

    command: Literal["COMMIT", "ROLLBACK"]
    notices: list[ServerMessage]


class QueriesAnswer(Struct):
    """What waits or runs; or the saved queries, by name."""

    queries: list[Object]


class CancelAnswer(Struct):
    """The request whose end was asked for."""

    id: str


class DescribeAnswer(Struct):
    """What a statement takes and returns."""

    params: list[Object]
    columns: list[Column]


class Table(Struct):
    """A table, or what else has columns."""

    name: str
    kind: Literal["table", "view", "materialized_view", "foreign_table"]
    comment: str | None
    columns: list[Object]
    primary_key: Object | None
    foreign_keys: list[Object]
    unique: list[Object]
    indexes: list[Object]


class Schema(Struct):
    """A schema of the database."""

    name: str
    tables: list[Table]


class SchemaAnswer(Struct):
    """The schemas that were asked for."""

    schemas: list[Schema]
