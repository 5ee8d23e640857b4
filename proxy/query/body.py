"""The body of a query's request, as it comes."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Literal, TypeVar

from msgspec import DecodeError, Meta, Raw, Struct, ValidationError, field
from msgspec.json import Decoder, encode

from proxy.encoders.row_encoder import RowShape
from proxy.engine.flight import Isolation
from proxy.errors import InvalidRequest
from proxy.query.params import SHOWN_NAME, did_you_mean

BodyT = TypeVar("BodyT")

Positive = Annotated[int, Meta(ge=1)]
# Nothing that ends a comment. Python's `$` would let a line break follow, but for `(?!\n)`; that of
# JSON Schema doesn't, and it knows no `\Z`.
Tag = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:/-]{1,64}(?!\n)$")]
OnExceed = Literal["error", "truncate"]


class AnswerLimits(Struct, frozen=True, forbid_unknown_fields=True):
    """How much a client wants to get at most; None leaves it to the configuration."""

    rows: Positive | None = None
    bytes: Positive | None = None
    on_exceed: OnExceed = "error"


class QueryBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON body of a query; parameters stay raw, so that every digit of a number survives."""

    sql: str
    params: list[Raw] | dict[str, Raw] = field(default_factory=list)
    types: list[str | None] = field(default_factory=list)
    rows: Literal["objects", "arrays"] = "objects"
    int8: Literal["number", "string"] = "number"
    numeric: Literal["string", "number"] = "string"
    limits: AnswerLimits = AnswerLimits()
    timeout_ms: Positive | None = None
    settings: dict[str, str] = field(default_factory=dict)
    role: str | None = None
    isolation: Isolation | None = None
    read_only: bool = False
    dry_run: bool = False
    claims: dict[str, Raw] | None = None
    tag: Tag | None = None

    @property
    def shape(self) -> RowShape:
        """How the rows are wanted."""
        return RowShape(self.rows, self.int8, self.numeric)


# What stands behind "must be" where a member has another type or value.
EXPECTED = {
    "sql": "the statement, a string",
    "params": "an array with the values of $1, $2, …, or an object with those of :name, …",
    "types": "an array of Postgres type names, with null where the server infers",
    "rows": '"objects" or "arrays"',
    "int8": '"number" or "string"',
    "numeric": '"string" or "number"',
    "limits": 'an object: rows and bytes whole numbers from 1, on_exceed "error" or "truncate"',
    "timeout_ms": "a whole number of milliseconds from 1",
    "settings": "an object of setting names with strings",
    "role": "a role's name, a string",
    "isolation": '"read committed", "repeatable read" or "serializable"',
    "read_only": "true or false",
    "dry_run": "true or false",
    "claims": "an object",
    "tag": "1 to 64 of the characters A-Z a-z 0-9 _ . : / -",
}
INNER_LIMITS = {"limits": AnswerLimits.__struct_fields__}
TEXT_OPTIONS = ("rows", "int8", "numeric", "timeout_ms", "tag")

_UNKNOWN = re.compile(r"Object contains unknown field `(.*?)`(?: - at `\$\.(.*)`)?", re.DOTALL)
_PATH = re.compile(r"at `\$\.(\w+)(.*)`$")

_decode_body = Decoder(QueryBody).decode
_decode_members = Decoder(QueryBody, strict=False).decode  # "5" is a number, too


def parse_body(data: bytes) -> QueryBody:
    """Read the JSON body of a request.

    Raises:
        InvalidRequest: names the place and the remedy, never a parameter's value.
    """
    body = decode_body(data, _decode_body, EXPECTED)
    check_sql(body.sql)
    return body


def decode_body(
    data: bytes,
    decode: Callable[[bytes], BodyT],
    expected: Mapping[str, str],
    inner: Mapping[str, Sequence[str]] = INNER_LIMITS,
) -> BodyT:
    """Decode a body of any kind; `expected` says of each member what it must be.

    `inner` lists the members of the objects in it, by the member that holds them.

    Raises:
        InvalidRequest: as `parse_body`.
    """
    _check_utf8(data, "body")
    try:
        return decode(data)
    except ValidationError as cause:
        raise InvalidRequest(_explain(str(cause), expected, inner)) from cause
    except DecodeError as cause:
        raise InvalidRequest(f"the body is not valid JSON: {_malformed(cause, data)}") from cause
    except RecursionError as cause:
        raise InvalidRequest("the body is nested too deeply") from cause


def parse_text(sql: bytes, query_string: Sequence[tuple[str, str]]) -> QueryBody:
    """Read a bare statement with its options in the query string; each `p` is one parameter.

    Raises:
        InvalidRequest: as `parse_body`.
    """
    _check_utf8(sql, "statement")
    members: dict[str, object] = {"sql": sql.decode()}
    members["params"] = [value for name, value in query_string if name == "p"]
    for name, value in query_string:
        if name not in {"p", *TEXT_OPTIONS}:
            raise InvalidRequest(_unknown("query parameter", name, ("p", *TEXT_OPTIONS)))
        if name != "p":
            members[name] = value
    try:
        body = _decode_members(encode(members))
    except UnicodeEncodeError as cause:
        raise InvalidRequest("the query string is not UTF-8") from cause
    except ValidationError as cause:
        raise InvalidRequest(_explain(str(cause), EXPECTED, INNER_LIMITS)) from cause
    check_sql(body.sql)
    return body


def _check_utf8(data: bytes, what: str) -> None:
    try:
        data.decode()
    except UnicodeDecodeError as cause:
        raise InvalidRequest(f"the {what} is not UTF-8 (byte {cause.start})") from cause


def check_sql(sql: str) -> None:
    """Raise InvalidRequest for a text that can't be a statement."""
    if not sql.strip():
        raise InvalidRequest("sql is empty; send one statement")
    if "\0" in sql:
        raise InvalidRequest("sql contains a NUL character, which Postgres cannot hold; remove it")


def _explain(reason: str, expected: Mapping[str, str], inner: Mapping[str, Sequence[str]]) -> str:
    """Turn msgspec's reason into a sentence for the caller, with the member's path."""
    if unknown := _UNKNOWN.fullmatch(reason):
        name, path = unknown.groups()
        return _unknown_member(name, path, expected, inner)
    if reason.startswith("Object missing required field `sql`"):
        return "the member 'sql' is missing; it holds the statement"
    if path := _PATH.search(reason):
        member, rest = path.groups()
        place = f" (at {member}{rest})" if rest else ""
        return f"{member} must be {expected[member]}{place}"
    required = "; only its member 'sql' is required" if "sql" in expected else ""
    return f"the body must be a JSON object{required}"


def _unknown_member(
    name: str, path: str | None, expected: Mapping[str, str], inner: Mapping[str, Sequence[str]]
) -> str:
    if path is None:
        return _unknown("member", name, expected)
    root = path.partition("[")[0]
    if name in expected and root != path:  # in an element of an array
        return f"{name} can't stand in {path}; put it beside {root}"
    return _unknown("member", name, inner[root])


def _malformed(cause: DecodeError, data: bytes) -> str:
    reason = str(cause)
    if reason == "Input data was truncated":  # said of a lone surrogate near the end, too
        return f"it ends too early, or with half of a surrogate pair (byte {len(data)})"
    return reason.removeprefix("JSON is malformed: ")


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    return f"unknown {what} '{name[:SHOWN_NAME]}'{did_you_mean(name, known)}"
