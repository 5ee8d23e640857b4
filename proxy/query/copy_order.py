"""What a bulk load asks for, from its address, its query string and its content type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from proxy.encoders.csv_rows import is_null_text
from proxy.errors import InvalidRequest, UnsupportedMediaType
from proxy.query.copy_csv import read_names
from proxy.query.models import QueryLimits, choose_role, find_timeout_s, write_claims
from proxy.query.params import SHOWN_NAME, did_you_mean
from proxy.sql.name import quote_names, quote_table

CopyFormat = Literal["csv", "ndjson"]
COPY_OPTIONS = ("columns", "header", "null", "role", "timeout_ms")
_CONTENT_TYPES: Mapping[str, CopyFormat] = {
    "text/csv": "csv",
    "application/x-ndjson": "ndjson",
    "application/ndjson": "ndjson",
    "application/jsonl": "ndjson",
}
_SWITCH = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class CopyOrder:
    """Where a body goes to, and how it is to be read."""

    table: str  # quoted
    format: CopyFormat
    columns: tuple[str, ...]  # as the address names them; empty: the body does, or all of them
    has_header: bool  # CSV
    null: str  # CSV
    role: str | None
    claims: str | None
    timeout_s: float


def to_copy_order(
    table: str, content_type: str, pairs: Sequence[tuple[str, str]], limits: QueryLimits
) -> CopyOrder:
    """Check a bulk load against the configuration.

    Raises:
        UnsupportedMediaType: the body is neither CSV nor NDJSON.
        InvalidRequest: a name or an option is wrong.
        Forbidden: requests may not run as this role.
    """
    name = _CONTENT_TYPES.get(content_type)
    if name is None:
        raise UnsupportedMediaType("send Content-Type: text/csv or application/x-ndjson")
    options = _read_options(pairs)
    for option in ("header", "null"):
        if option in options and name != "csv":
            raise InvalidRequest(f"{option} is for text/csv")
    columns = read_names(options["columns"].encode(), "columns") if "columns" in options else ()
    return CopyOrder(
        table=_check_names(table, columns),
        format=name,
        columns=columns,
        has_header=_read_header(options.get("header"), is_default=not columns),
        null=_read_null(options.get("null", "")),
        role=choose_role(options.get("role"), limits),
        claims=write_claims(None, limits),
        timeout_s=find_timeout_s(_read_timeout(options.get("timeout_ms")), limits),
    )


def _read_options(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in pairs:
        if name not in COPY_OPTIONS:
            hint = did_you_mean(name, COPY_OPTIONS)
            raise InvalidRequest(f"unknown query parameter '{name[:SHOWN_NAME]}'{hint}")
        if name in options:
            raise InvalidRequest(f"{name} is there twice")
        options[name] = value
    return options


def _check_names(table: str, columns: Sequence[str]) -> str:
    try:
        quote_names(columns)
        return quote_table(table)
    except ValueError as cause:
        raise InvalidRequest(str(cause)) from cause


def _read_header(text: str | None, *, is_default: bool) -> bool:
    if text is None:
        return is_default
    if text not in _SWITCH:
        raise InvalidRequest("header must be true or false")
    return _SWITCH[text]


def _read_null(text: str) -> str:
    if not is_null_text(text):
        raise InvalidRequest("null must be printable, without quotes and commas")
    return text


def _read_timeout(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InvalidRequest("timeout_ms must be a whole number of milliseconds from 1")
    return int(text)
