"""The paths of saved queries in `/openapi.json`: their parameters have types."""

from typing import Any, TypeAlias

from proxy.query.front_matter import SavedParam
from proxy.query.saved import SavedQuery
from proxy.sql.types import SqlType

Document: TypeAlias = dict[str, Any]

_JSON = frozenset({"json", "jsonb"})
_TYPES = {
    "bool": "boolean",
    **dict.fromkeys(("int2", "int4", "int8", "oid"), "integer"),
    **dict.fromkeys(("float4", "float8", "numeric"), "number"),
}  # what isn't here is a string of Postgres' text


def describe_saved(saved: SavedQuery, general: Document) -> Document:
    """Describe the path of one saved query, by what holds for all of them."""
    methods = {"post": _describe_post(saved, general["post"])}
    if saved.front.read_only:
        methods["get"] = _describe_get(saved, general["get"])
    return methods


def _describe_get(saved: SavedQuery, general: Document) -> Document:
    params = saved.front.params
    described = _narrow(saved, general, "read")
    options = [each for each in described["parameters"] if each["name"] not in params]
    described["parameters"] = [*map(_describe_option, params.values()), *options]
    return described


def _describe_post(saved: SavedQuery, general: Document) -> Document:
    params = saved.front.params.values()
    required = [param.name for param in params if param.default is None]
    values = {
        "type": "object",
        "properties": {param.name: _describe_value(param, ["null"]) for param in params},
        "required": required,
        "additionalProperties": False,
    }
    own = {"properties": {"params": values}, "required": ["params"] if required else []}
    content = general["requestBody"]["content"]
    narrowed = {name: {"schema": {"allOf": [it["schema"], own]}} for name, it in content.items()}
    return {
        **_narrow(saved, general, "run"),
        "requestBody": {**general["requestBody"], "content": narrowed},
    }


def _narrow(saved: SavedQuery, general: Document, verb: str) -> Document:
    return {
        **general,
        "operationId": f"{verb}_{saved.name}",
        "summary": saved.front.description or saved.name,
        "parameters": [each for each in general["parameters"] if each["in"] != "path"],
    }


def _describe_option(param: SavedParam) -> Document:
    option = {"name": param.name, "in": "query", "required": param.default is None}
    schema = {"schema": _describe_value(param, [])}
    return option | ({"content": {"application/json": schema}} if _is_json(param) else schema)


def _is_json(param: SavedParam) -> bool:
    return param.kind.name in _JSON


def _describe_value(param: SavedParam, more: list[str]) -> Document:
    described = {**_describe_type(param.kind, more), "description": param.kind.name}
    if param.default is None or (not more and bytes(param.default) == b"null"):
        return described  # a query string has no word for null
    return {**described, "default": param.default}


def _describe_type(kind: SqlType, more: list[str]) -> Document:
    if kind.name in _JSON:
        return {}
    if kind.element is not None:
        return {"type": ["array", *more], "items": _describe_type(kind.element, more)}
    return {"type": [_TYPES.get(kind.name, "string"), *more]}
