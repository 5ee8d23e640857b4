"""GET /openapi.json: what the service takes and answers, out of what reads and answers it."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, TypeAlias

from aiohttp import web
from msgspec.json import encode, schema_components

from proxy.api.etag import answer_unless_known
from proxy.api.identity import PROBES
from proxy.api.openapi_answer import Problem
from proxy.api.openapi_named import describe_saved
from proxy.api.openapi_operation import EXAMPLES, OPERATIONS, Content, Failures, Operation
from proxy.api.problem import CONTENT_TYPE
from proxy.api.raw_sql import OPEN
from proxy.engine.sqlstate import list_statuses
from proxy.errors import Forbidden, ProxyError, SqlError, TooManyRequests, Unauthorized
from proxy.keys import SAVED
from proxy.query.batch_body import EXPECTED_BATCH
from proxy.query.body import EXPECTED
from proxy.query.saved import SavedQuery
from proxy.query.transaction_body import EXPECTED_TRANSACTION
from proxy.settings import Settings

Document: TypeAlias = dict[str, Any]

_REF = "#/components/schemas/{name}"
_TEXT = {"type": "string"}
_NULL = {"type": "null"}
_MEMBERS = {**EXPECTED_TRANSACTION, **EXPECTED_BATCH, **EXPECTED}
_WHY: Mapping[type[ProxyError], str] = {
    ProxyError: "`internal`: a bug, or a state that should not be; the log has more",
    SqlError: "an error of the statement, with its SQLSTATE and Postgres' name of it",
}
_BEGIN, _INNER = "/v1/transactions", "/v1/transactions/{id}"
_WAIT = ("Retry-After",)  # where waiting helps
_OF_STATUS = {
    201: ("Location",),
    401: ("WWW-Authenticate",),
    405: ("Allow",),
    429: _WAIT,
    503: _WAIT,
}
_TOKEN = "token"  # noqa: S105  # the name of the security scheme


class OpenApi:
    """Writes the document, and again when the saved queries have changed."""

    def __init__(
        self, settings: Settings, routes: Iterable[web.RouteDef], probes: Iterable[web.RouteDef]
    ) -> None:
        is_open = settings.sql.mode == "any"
        self._paths = _list_paths(route for route in routes if is_open or route.path in OPEN)
        port = {"default": str(settings.ops.port)}
        host = {"default": settings.ops.host}
        server = {"url": "http://{host}:{port}", "variables": {"host": host, "port": port}}
        items = _list_paths(probes).items()
        self._probes = {path: {**item, "servers": [server]} for path, item in items}
        self._has_tokens = settings.auth.has_tokens
        self._responses = _share_responses([*self._paths.values(), *dict(items).values()])
        self._saved: Sequence[SavedQuery] | None = None
        self._body = b""

    def write(self, saved: Sequence[SavedQuery]) -> bytes:
        """Write the document as JSON."""
        if saved != self._saved:
            self._saved, self._body = saved, encode(self._build(saved))
        return self._body

    def _build(self, saved: Iterable[SavedQuery]) -> Document:
        general = self._paths["/v1/named/{name}"]
        named = {f"/v1/named/{each.name}": describe_saved(each, general) for each in saved}
        licence = {"name": "Apache 2.0", "identifier": "Apache-2.0"}
        components = {"schemas": _list_schemas(), "responses": self._responses}
        if self._has_tokens:
            components["securitySchemes"] = {_TOKEN: {"type": "http", "scheme": "bearer"}}
        return {
            "openapi": "3.1.0",
            "info": {"title": "pgsidecar", "version": version("pgsidecar"), "license": licence},
            "servers": [{"url": "/"}],
            "paths": {**self._paths, **named, **self._probes},
            "components": components,
            "security": [{_TOKEN: []}] if self._has_tokens else [],
        }


OPENAPI = web.AppKey("openapi", OpenApi)


async def get_openapi(request: web.Request) -> web.Response:
    """Describe this service, saved queries included, as OpenAPI 3.1."""
    body = request.app[OPENAPI].write(request.app[SAVED].queries)
    return answer_unless_known(request, body, body)


def _list_paths(routes: Iterable[web.RouteDef]) -> dict[str, Document]:
    paths: dict[str, Document] = defaultdict(dict)
    for route in routes:
        operation = OPERATIONS[f"{route.method} {route.path}"]
        paths[route.path][route.method.lower()] = _describe(route, operation)
    if _BEGIN in paths:
        inner = [item for path, items in paths.items() if _INNER in path for item in items.values()]
        paths[_BEGIN]["post"]["responses"]["201"]["links"] = dict(map(_link, inner))
    return dict(paths)


def _link(operation: Document) -> tuple[str, Document]:
    """Say that an operation takes the id that the answer has."""
    name = operation["operationId"]
    return name, {"operationId": name, "parameters": {"id": "$response.body#/id"}}


def _share_responses(items: Iterable[Document]) -> Document:
    """Move the answers to where all refer to; most are the same at several operations."""
    names: dict[bytes, str] = {}
    shared: Document = {}
    for operation in (operation for item in items for operation in item.values()):
        responses = operation["responses"]
        for status, response in responses.items():
            new_name = f"{operation['operationId']}.{status}"
            name = names.setdefault(encode(response), new_name)
            shared.setdefault(name, response)
            responses[status] = {"$ref": f"#/components/responses/{name}"}
    return shared


def _describe(route: web.RouteDef, operation: Operation) -> Document:
    handler = route.handler
    described = {
        "operationId": handler.__name__,
        "tags": [handler.__module__.rpartition(".")[2]],
        "summary": _first_line(handler),
        "parameters": [*_list_parameters(route.path, operation)],
        "responses": {**_list_answers(operation), **_list_failures(route.path, operation)},
    }
    if route.path in PROBES:
        described["security"] = []
    if operation.takes:
        content = _describe_content(operation.takes)
        for name in content.keys() & EXAMPLES.keys():
            content[name] = {"schema": _TEXT, "example": EXAMPLES[name]}
        described["requestBody"] = {"required": operation.needs_body, "content": content}
    return described


def _list_parameters(path: str, operation: Operation) -> Iterator[Document]:
    for name in re.findall(r"\{(\w+)\}", path):
        yield {"name": name, "in": "path", "required": True, "schema": _TEXT, **_find_example(name)}
    schemas, _ = schema_components(operation.options.values(), ref_template=_REF)
    for name, schema in zip(operation.options, schemas, strict=True):
        kind, *_ = (kind for kind in schema.get("anyOf", [schema]) if kind != _NULL)
        is_required = name == "channel"
        option = {"name": name, "in": "query", "required": is_required, "schema": kind}
        yield {**option, **_find_example(name)}
    for name in ("X-Request-Id", "If-None-Match")[: 1 + operation.has_etag]:
        yield {"name": name, "in": "header", "schema": _TEXT}


def _list_answers(operation: Operation) -> Document:
    status, has_etag = operation.status, operation.has_etag
    headers = _list_headers(status, *(["ETag"] if has_etag else []))
    content = _describe_content(operation.answers)
    answers = {str(status): {"description": "Success", "headers": headers, "content": content}}
    return {**answers, "304": {"description": "Known", "headers": headers}} if has_etag else answers


def _list_failures(path: str, operation: Operation) -> Document:
    reasons: dict[int, list[str]] = defaultdict(list)
    gate: Failures = () if path in PROBES else (Unauthorized, TooManyRequests)
    kinds: Failures = (Forbidden, *gate, *operation.failures, ProxyError)
    for kind in sorted({*kinds}, key=lambda kind: kind.code):
        reason = _WHY.get(kind) or f"`{kind.code}`: {_first_line(kind)}"
        for status in list_statuses() if kind is SqlError else {kind.status}:
            reasons[status].append(reason)
    content = _describe_content({CONTENT_TYPE: Problem})
    return {
        str(status): {
            "description": "\n".join(f"- {reason}" for reason in reasons[status]),
            "headers": _list_headers(status),
            "content": content,
        }
        for status in sorted(reasons)
    }


def _list_headers(status: int, *more: str) -> Document:
    names = ("X-Request-Id", "Server-Timing", *_OF_STATUS.get(status, ()), *more)
    return {name: {"schema": _TEXT, "required": name not in _WAIT} for name in names}


def _describe_content(content: Content) -> Document:
    return {
        name: {"schema": {"$ref": _REF.format(name=kind.__name__)} if kind else {}}
        for name, kind in content.items()
    }


def _find_example(name: str) -> Document:
    return {"example": EXAMPLES[name]} if name in EXAMPLES else {}


def _list_schemas() -> Document:
    """List the schemas of all structs, with what is said of their members elsewhere."""
    contents = [each for item in OPERATIONS.values() for each in (item.takes, item.answers)]
    structs = {kind for content in contents for kind in content.values() if kind is not None}
    _, schemas = schema_components([*structs, Problem], ref_template=_REF)
    for name, schema in schemas.items():
        if name in EXAMPLES:
            schema["examples"] = [EXAMPLES[name]]
        for member in _MEMBERS.keys() & schema["properties"].keys() if name[-4:] == "Body" else ():
            schema["properties"][member]["description"] = _MEMBERS[member]
    return schemas


def _first_line(documented: object) -> str:
    return (documented.__doc__ or "").partition("\n")[0]
