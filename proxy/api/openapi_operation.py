"""What `/openapi.json` says of each route beside its handler's name and first sentence."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct
from msgspec.structs import fields

from proxy import errors
from proxy.api import openapi_answer as answer
from proxy.api.listen import MAX_CHANNELS
from proxy.encoders.negotiation import FORMATS, FormatName
from proxy.query.batch_body import BatchBody
from proxy.query.body import TEXT_OPTIONS, Positive, QueryBody
from proxy.query.describe import DescribeBody
from proxy.query.saved_request import SAVED_OPTIONS, SavedBody
from proxy.query.transaction_body import EndBody, TransactionBody

Content: TypeAlias = Mapping[str, type[Struct] | None]  # by content type; None: has no struct
Failures: TypeAlias = tuple[type[errors.ProxyError], ...]
Options: TypeAlias = Mapping[str, Any]  # types by name

JSON = "application/json"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Operation(NamedTuple):
    """What a route takes and answers."""

    answers: Content
    failures: Failures = ()
    takes: Content = _NOTHING
    options: Options = _NOTHING  # in the query string
    status: int = 200
    needs_body: bool = True
    has_etag: bool = False


def _pick(struct: type[Struct], names: Sequence[str]) -> Options:
    return {field.name: field.type for field in fields(struct) if field.name in names}


_BAD = (errors.InvalidRequest,)
_BODY = (*_BAD, errors.RequestTimeout, errors.UnsupportedMediaType, errors.RequestTooLarge)
_DRAIN = (errors.Draining,)
_AWAY = (errors.UpstreamUnavailable, errors.UpstreamAuth)
_QUEUE = (*_AWAY, errors.PoolTimeout, errors.QueueFull)
_END = (*_DRAIN, errors.DeadlineExceeded, errors.QueryCanceled, errors.SqlError)
_ASK = (*_QUEUE, *_END, errors.Forbidden)
_SEND = (*_BODY, *_ASK)
_GUARD = (errors.StatementNotAllowed, errors.NeedsSession, errors.NeedsBareFlight)
_RESULT = (errors.ResultTooLarge, errors.EncodingFailed)
_RUN = (*_ASK, *_GUARD, errors.NeedsTransactions, *_RESULT)
_SQL = (*_BODY, *_RUN)
_FORM = (errors.NotAcceptable, errors.HttpVersionTooOld)
_LOST = (errors.NotFound,)
_OVER = (*_LOST, errors.TransactionEnded, errors.TransactionExpired)
_HELD = (*_BODY, *_OVER, errors.TransactionBusy, errors.UpstreamUnavailable, *_END)
_INNER = (*_HELD, *_GUARD, *_RESULT)
_BEGIN = (*_SEND, errors.NeedsTransactions, errors.TooManyTransactions)
_HEAR = (*_BAD, *_DRAIN, *_AWAY, errors.SqlError, errors.NeedsSession, errors.TooManyListeners)
_READ = (*_BAD, *_LOST, errors.MethodNotAllowed, *_RUN)
_SHOW = (*_BAD, *_LOST, *_QUEUE, *_END, errors.ResultTooLarge)
_PROVE = (*_QUEUE, *_DRAIN)

_QUERY: Content = {JSON: QueryBody, "application/sql": None}
_LOAD: Content = {"text/csv": None, "application/x-ndjson": None}
_ROWS: Content = {JSON: answer.QueryAnswer}
_STREAMED: Content = {**dict.fromkeys(FORMATS), JSON: answer.PartialAnswer}
_STATE: Content = {JSON: answer.TransactionAnswer}
_LIST: Content = {JSON: answer.QueriesAnswer}
_PLAIN: Content = {JSON: None}

_TEXT: Options = {"p": list[str], **_pick(QueryBody, TEXT_OPTIONS)}
_CSV: Options = {"null": str, "header": bool}
_STREAM_TEXT: Options = {"format": FormatName, "envelope": Literal["bare"], **_CSV, **_TEXT}
_INTO: Options = {"columns": str, "role": str, "timeout_ms": Positive, **_CSV}
_OF_SAVED = _pick(SavedBody, SAVED_OPTIONS)
_HEARD = {"channel": Annotated[list[str], Meta(min_length=1, max_length=MAX_CHANNELS)]}
_SHOWN = {"schema": Annotated[str, Meta(min_length=1)]}

_ENDING = Operation(
    {JSON: answer.EndAnswer}, (*_HELD, errors.TransactionFailed), {JSON: EndBody}, needs_body=False
)
OPERATIONS: Mapping[str, Operation] = {
    "POST /v1/query": Operation(_ROWS, _SQL, _QUERY, _TEXT),
    "POST /v1/stream": Operation(_STREAMED, (*_SQL, *_FORM), _QUERY, _STREAM_TEXT),
    "POST /v1/batch": Operation({JSON: answer.BatchAnswer}, _SQL, {JSON: BatchBody}),
    "POST /v1/copy/{table}": Operation({JSON: answer.CopyAnswer}, _SEND, _LOAD, _INTO),
    "POST /v1/transactions": Operation(
        _STATE, _BEGIN, {JSON: TransactionBody}, status=201, needs_body=False
    ),
    "GET /v1/transactions/{id}": Operation(_STATE, _OVER),
    "POST /v1/transactions/{id}/query": Operation(_ROWS, _INNER, _QUERY, _TEXT),
    "POST /v1/transactions/{id}/batch": Operation(
        {JSON: answer.BatchAnswer}, _INNER, {JSON: BatchBody}
    ),
    "POST /v1/transactions/{id}/stream": Operation(
        _STREAMED, (*_INNER, *_FORM), _QUERY, _STREAM_TEXT
    ),
    "POST /v1/transactions/{id}/commit": _ENDING,
    "POST /v1/transactions/{id}/rollback": _ENDING,
    "GET /v1/queries": Operation(_LIST, _AWAY),
    "DELETE /v1/queries/{id}": Operation({JSON: answer.CancelAnswer}, (*_LOST, *_AWAY), status=202),
    "GET /v1/listen": Operation({"text/event-stream": None}, _HEAR, options=_HEARD),
    "GET /v1/named": Operation(_LIST, _DRAIN),
    "GET /v1/named/{name}": Operation(_ROWS, _READ, options=_OF_SAVED, has_etag=True),
    "POST /v1/named/{name}": Operation(_ROWS, (*_SQL, *_LOST), {JSON: SavedBody}),
    "POST /v1/describe": Operation({JSON: answer.DescribeAnswer}, _SEND, {JSON: DescribeBody}),
    "GET /v1/schema": Operation({JSON: answer.SchemaAnswer}, _SHOW, options=_SHOWN, has_etag=True),
    "GET /openapi.json": Operation(_PLAIN, _DRAIN, has_etag=True),
    "GET /startup": Operation(_PLAIN, _AWAY),
    "GET /ready": Operation(_PLAIN, _PROVE),
    "GET /live": Operation(_PLAIN),
    "GET /stats": Operation(_PLAIN),
}
EXAMPLES: Mapping[str, object] = {  # by the name of a struct, of an option, or by content type
    "QueryBody": {"sql": "select n + $1::int as n from generate_series(1, 2) as n", "params": [7]},
    "BatchBody": {"statements": [{"sql": "select upper($1)", "param_sets": [["a"], ["b"]]}]},
    "TransactionBody": {"isolation": "serializable", "idle_timeout_ms": 1000},
    "EndBody": {"timeout_ms": 5000},
    "DescribeBody": {"sql": "select :n::int + 1 as next"},
    "application/sql": "select n from generate_series(1, 2) as n",
    "text/csv": "id,name\n1,Ada\n2,Grace\n",
    "application/x-ndjson": '{"id":1,"name":"Ada"}\n{"id":2,"name":"Grace"}\n',
    "table": "public.people",
    "id": "nightly-report",
    "name": "user-orders",
    "channel": ["orders"],
}
