"""What a request asks of a saved query: the body of a POST, the query string of a GET."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import DecodeError, Raw, Struct, field
from msgspec.json import Decoder, encode

from proxy.errors import InvalidRequest
from proxy.query.body import EXPECTED, AnswerLimits, Positive, QueryBody, Tag, decode_body
from proxy.query.front_matter import SavedParam, decode_raw
from proxy.query.models import Query, QueryLimits, to_query
from proxy.query.params import SHOWN_NAME, did_you_mean
from proxy.query.saved import SavedQuery
from proxy.sql.types import SqlType

_JSON = frozenset({"json", "jsonb"})


class SavedBody(Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON body; its options are those of a query."""

    params: dict[str, Raw] = field(default_factory=dict)
    rows: Literal["objects", "arrays"] = "objects"
    int8: Literal["number", "string"] = "number"
    numeric: Literal["string", "number"] = "string"
    limits: AnswerLimits = AnswerLimits()
    timeout_ms: Positive | None = None
    role: str | None = None
    claims: dict[str, Raw] | None = None
    tag: Tag | None = None


_EXPECTED = {
    **{name: EXPECTED[name] for name in SavedBody.__struct_fields__},
    "params": "an object with the values of the parameters, by name",
}
SAVED_OPTIONS = (
    "rows",
    "int8",
    "numeric",
    "timeout_ms",
    "role",
    "tag",
)  # that a query string can have

_decode_body = Decoder(SavedBody).decode
_decode_members = Decoder(SavedBody, strict=False).decode  # "5" is a number, too


def parse_saved_body(data: bytes) -> SavedBody:
    """Read the body of a POST.

    Raises:
        InvalidRequest: names the place and the remedy, never a parameter's value.
    """
    return decode_body(data, _decode_body, _EXPECTED)


def parse_saved_string(saved: SavedQuery, pairs: Iterable[tuple[str, str]]) -> SavedBody:
    """Read the query string of a GET; a parameter has the precedence over an option of its name.

    Raises:
        InvalidRequest: as `parse_saved_body`.
    """
    params = saved.front.params
    known = (*params, *SAVED_OPTIONS)
    given: dict[str, list[str]] = defaultdict(list)
    for name, value in pairs:
        if name not in known:
            hint = did_you_mean(name, known)
            raise InvalidRequest(f"{saved.name} has no parameter '{name[:SHOWN_NAME]}'{hint}")
        given[name].append(value)
    members: dict[str, object] = {
        name: _take_one(f"'{name}'", texts) for name, texts in given.items() if name not in params
    }
    members["params"] = {
        name: _to_raw(params[name], texts) for name, texts in given.items() if name in params
    }
    return decode_body(encode(members), _decode_members, _EXPECTED)


def to_saved_query(saved: SavedQuery, body: SavedBody, limits: QueryLimits) -> Query:
    """Make the query that runs.

    Raises:
        InvalidRequest: a parameter or the timeout is wrong.
        Forbidden: the role is not open to requests, or not with this query.
    """
    saved.check_role(limits.role or body.role)
    whole = QueryBody(
        sql=saved.rewritten.sql,
        params=saved.bind(body.params),
        types=saved.types,
        rows=body.rows,
        int8=body.int8,
        numeric=body.numeric,
        limits=body.limits,
        timeout_ms=body.timeout_ms,
        role=body.role,
        claims=body.claims,
        tag=body.tag,
        read_only=saved.front.read_only,
    )
    return to_query(whole, limits)._replace(find_position=saved.rewritten.position)


def _take_one(place: str, texts: Sequence[str]) -> str:
    if len(texts) > 1:
        raise InvalidRequest(f"{place} is given more than once")
    return texts[0]


def _to_raw(param: SavedParam, texts: Sequence[str]) -> Raw:
    """Write texts as the JSON that means them: an array has one element for each."""
    kind, place = param.kind, f"the parameter '{param.name}' ({param.kind.name})"
    if kind.element is None:
        return _encode_text(kind, place, _take_one(place, texts))
    element = kind.element
    elements = [bytes(_encode_text(element, place, text)) for text in texts]
    return Raw(b"[" + b",".join(elements) + b"]")


def _encode_text(kind: SqlType, place: str, text: str) -> Raw:
    if kind.name not in _JSON:
        return Raw(encode(text))
    try:
        return decode_raw(text)
    except (DecodeError, RecursionError) as cause:
        raise InvalidRequest(f"{place} is not JSON; write strings in double quotes") from cause
