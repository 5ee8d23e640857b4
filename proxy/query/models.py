"""A query, as the service runs it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from msgspec import Raw
from msgspec.json import encode

from proxy.encoders.row_encoder import RowShape
from proxy.engine.flight import Isolation
from proxy.errors import Forbidden, InvalidRequest, RequestTooLarge
from proxy.query.body import OnExceed, QueryBody
from proxy.query.params import SHOWN_NAME, did_you_mean, encode_params
from proxy.sql.named import rewrite_named
from proxy.sql.setting import is_allowed
from proxy.sql.statement import Statement, describe_statement

MAX_SETTINGS = 50
MAX_CLAIMS_BYTES = 16 * 1024
NO_CLAIMS = "{}"


@dataclass(frozen=True, slots=True)
class QueryLimits:
    """What the configuration allows a request."""

    rows: int
    bytes: int
    timeout_s: float
    timeout_max_s: float
    sql_bytes: int
    allowed_settings: tuple[str, ...] = ()
    allowed_roles: tuple[str, ...] = ()
    allow_claims: bool = False
    is_read_only: bool = False  # whatever a request says
    role: str | None = None  # by the client's token, in place of what a request says
    claims: str | None = None  # the same, as JSON


def _same_position(position: int) -> int:
    return position


class Query(NamedTuple):  # made three times as fast as a frozen dataclass of so many fields
    """One statement, checked, with the limits and options that hold for it."""

    sql: bytes
    statement: Statement
    values: tuple[bytes | None, ...]
    oids: tuple[int, ...]
    shape: RowShape
    max_rows: int
    max_bytes: int
    on_exceed: OnExceed
    timeout_s: float
    settings: Mapping[str, str]
    role: str | None = None
    isolation: Isolation | None = None
    read_only: bool = False
    dry_run: bool = False
    claims: str | None = None  # JSON; None where the setting is left alone
    tag: str | None = None
    in_transaction: bool = False  # one that was open before, and stays so
    find_position: Callable[[int], int] = _same_position

    @property
    def is_protected(self) -> bool:
        """Whether an option would be in vain if the statement ended its transaction."""
        has_claims = self.claims not in {None, NO_CLAIMS}
        return bool(self.role or has_claims or self.isolation or self.read_only or self.dry_run)

    @property
    def has_options(self) -> bool:
        """Whether something must travel in front of the statement."""
        return bool(self.settings) or self.is_protected


def to_query(body: QueryBody, limits: QueryLimits) -> Query:
    """Check a body against the configuration; a request's own limits can only lower it.

    Raises:
        InvalidRequest: a parameter, a type, a setting's value or the timeout is wrong.
        RequestTooLarge: the statement is too long, or the claims are.
        Forbidden: a setting, a role or claims are not open to requests.
    """
    sql_bytes = len(body.sql.encode())
    if sql_bytes > limits.sql_bytes:
        raise RequestTooLarge(
            f"the statement has {sql_bytes} bytes, limits.sql_bytes allows {limits.sql_bytes}; "
            "send long values as parameters"
        )
    check_settings(body.settings, limits.allowed_settings)
    role = choose_role(body.role, limits)
    sql, values, find_position = _bind(body)
    encoded = encode_params(values, body.types)
    statement = describe_statement(body.sql)
    claims = write_claims(body.claims, limits)
    return Query(
        sql=sql.encode() if body.tag is None else f"{sql}\n-- {body.tag}".encode(),
        statement=statement,
        values=encoded.values,
        oids=encoded.oids,
        shape=body.shape,
        max_rows=min(body.limits.rows or limits.rows, limits.rows),
        max_bytes=min(body.limits.bytes or limits.bytes, limits.bytes),
        on_exceed=body.limits.on_exceed,
        timeout_s=find_timeout_s(body.timeout_ms, limits),
        settings=body.settings,
        role=role,
        isolation=body.isolation,
        read_only=body.read_only or limits.is_read_only,
        dry_run=body.dry_run,
        # what may commit on its way can't do so behind a setting
        claims=None if statement.can_commit_inside and claims == NO_CLAIMS else claims,
        tag=body.tag,
        find_position=find_position,
    )


def _bind(body: QueryBody) -> tuple[str, Sequence[Raw], Callable[[int], int]]:
    """Bring named parameters into the order of $1, $2, …, which is all that the server knows."""
    if isinstance(body.params, list):
        return body.sql, body.params, _same_position
    if body.types:
        raise InvalidRequest("types go with an array of params; write :name::type in the statement")
    rewritten = rewrite_named(body.sql)
    if rewritten.mixes:
        raise InvalidRequest("sql has both $1 and :name parameters; use one kind")
    return rewritten.sql, order_params(rewritten.names, body.params), rewritten.position


def order_params(names: Sequence[str], params: Mapping[str, Raw]) -> list[Raw]:
    """Bring the values of named parameters into the order of `names`.

    Raises:
        InvalidRequest: one is missing, or there are more.
    """
    missing = [name for name in names if name not in params]
    if missing:
        hint = did_you_mean(missing[0], params)
        raise InvalidRequest(f"params has no member for :{missing[0][:SHOWN_NAME]}{hint}")
    if len(params) > len(names):
        name = next(name for name in params if name not in names)
        hint = did_you_mean(name, names)
        raise InvalidRequest(f"sql has no parameter :{name[:SHOWN_NAME]}{hint}")
    return [params[name] for name in names]


def check_settings(settings: Mapping[str, str], allowed: Sequence[str]) -> None:
    """Raise Forbidden or InvalidRequest for settings that requests may not ask for."""
    if len(settings) > MAX_SETTINGS:
        raise InvalidRequest(f"settings has {len(settings)} members; at most {MAX_SETTINGS} fit")
    for name, value in settings.items():
        if not is_allowed(name, allowed):
            raise Forbidden(
                f"a request may not set '{name[:SHOWN_NAME]}'; "
                "session.allowed_settings lists what it may"
            )
        if "\0" in value:
            raise InvalidRequest(f"settings.{name} contains a NUL character; remove it")


def choose_role(wanted: str | None, limits: QueryLimits) -> str | None:
    """Choose the role that a statement runs as: the token's, or the request's.

    Raises:
        Forbidden: requests may not run as it.
    """
    if limits.role is not None and wanted not in {None, limits.role}:
        raise Forbidden("the client's token says its role; leave role out")
    role = limits.role or wanted
    if role is not None and role not in limits.allowed_roles:
        raise Forbidden(
            f"a request may not run as '{role[:SHOWN_NAME]}'; "
            "session.allowed_roles lists the roles that it may ask for"
        )
    return role


def write_claims(claims: Mapping[str, Raw] | None, limits: QueryLimits) -> str | None:
    """Write claims as JSON; where they are allowed, a request without any has none of anybody's.

    Raises:
        Forbidden: requests may not have claims.
        RequestTooLarge
    """
    if limits.claims is not None:
        if claims is None:
            return limits.claims
        raise Forbidden("the client's token has its claims; leave claims out")
    if not limits.allow_claims:
        if claims is None:
            return None
        raise Forbidden("a request may not have claims; session.allow_claims opens them")
    text = encode(claims or {})
    if len(text) > MAX_CLAIMS_BYTES:
        raise RequestTooLarge(f"claims has {len(text)} bytes; at most {MAX_CLAIMS_BYTES} fit")
    return text.decode()


def find_timeout_s(timeout_ms: int | None, limits: QueryLimits) -> float:
    """Find the time that a request has.

    Raises:
        InvalidRequest: it asks for more than the configuration allows.
    """
    if timeout_ms is None:
        return limits.timeout_s
    ceiling_ms = round(limits.timeout_max_s * 1000)
    if timeout_ms > ceiling_ms:
        raise InvalidRequest(
            f"timeout_ms is over the ceiling of {ceiling_ms} (limits.timeout_max_s); lower it"
        )
    return timeout_ms / 1000
