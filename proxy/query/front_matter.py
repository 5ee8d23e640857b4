"""The front matter of a saved query's file: what the comments at its top say of the statement.

    -- description: Orders of a user
    -- param: user int4
    -- param: least numeric = 10
    -- read_only: true
    select * from orders where user_id = :user and amount >= :least

It's read strictly, since a mistyped key would lift what it was meant to restrict.
"""

import re
from dataclasses import dataclass

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from proxy.errors import InvalidRequest
from proxy.query.params import SHOWN_NAME, did_you_mean, encode_value
from proxy.sql.name import quote_name
from proxy.sql.types import TYPE_NAMES, SqlType, type_by_name

KEYS = ("name", "description", "param", "read_only", "roles")

_LINE = re.compile(r"[ \t]*(?:--([^\r\n]*))?(?:\r\n?|\n|\Z)")
_ENTRY = re.compile(r"([\w-]+)[ \t]*:(.*)")
_NAME = re.compile(r"[a-z0-9_-]{1,64}")
_LETTERS = r"A-Za-z_\x80-\U0010ffff"
_PARAM = re.compile(rf"([{_LETTERS}][{_LETTERS}0-9$]*)\s+([^=]*[^=\s])(?:\s*=\s*(.+))?")
_SWITCH = {"true": True, "false": False}

decode_raw = Decoder(Raw).decode


@dataclass(frozen=True, slots=True)
class SavedParam:
    """A parameter of a saved query; `default` is JSON, None where a value must be given."""

    name: str
    kind: SqlType
    default: Raw | None = None


@dataclass(frozen=True, slots=True)
class FrontMatter:
    """What stood there; `roles` is None where nothing was said about them."""

    name: str
    description: str | None
    params: dict[str, SavedParam]
    read_only: bool
    roles: tuple[str, ...] | None


def parse_front_matter(text: str, stem: str) -> tuple[FrontMatter, str]:
    """Read the front matter; returns what follows it, too. `stem` is the file's name.

    Raises:
        ValueError: the sentence says the line and the mistake.
    """
    single: dict[str, tuple[int, str]] = {}
    params: dict[str, SavedParam] = {}
    lines, start = _split(text)
    for number, line in lines:
        key, value = _read_entry(number, line)
        if key == "param":
            param = _read_param(number, value)
            if param.name in params:
                raise ValueError(f"line {number}: param {param.name} is there twice")
            params[param.name] = param
            continue
        if key in single:
            raise ValueError(f"line {number}: {key} is there twice")
        single[key] = number, value
    front = FrontMatter(
        _read_name(*single.get("name", (0, stem))),
        single["description"][1] if "description" in single else None,
        params,
        _read_switch(*single.get("read_only", (0, "false"))),
        _read_roles(*single["roles"]) if "roles" in single else None,
    )
    return front, text[start:]


def _split(text: str) -> tuple[list[tuple[int, str]], int]:
    """Find the comments at the top, with their lines' numbers, and where the rest begins."""
    lines = []
    position = number = 0
    while position < len(text) and (match := _LINE.match(text, position)):
        position, number = match.end(), number + 1
        comment = (match[1] or "").strip()
        if comment:
            lines.append((number, comment))
    return lines, position


def _read_entry(number: int, line: str) -> tuple[str, str]:
    entry = _ENTRY.fullmatch(line)
    if entry is None:
        raise ValueError(
            f"line {number} is not `-- key: value`; put other comments below the statement's "
            "first line, or into /* … */"
        )
    key, value = entry[1], entry[2].strip()
    if key not in KEYS:
        raise ValueError(
            f"line {number}: unknown key '{key[:SHOWN_NAME]}'{did_you_mean(key, KEYS)}; "
            f"there are {', '.join(KEYS)}"
        )
    if not value:
        raise ValueError(f"line {number}: {key} is empty; give a value or leave the line out")
    return key, value


def _read_name(number: int, name: str) -> str:
    if not _NAME.fullmatch(name):
        where = f"line {number}: the name" if number else "the file's name"
        raise ValueError(
            f"{where} may have a to z, 0 to 9, _ and - only, at most 64 of them; "
            "write one as `-- name: …`"
        )
    return name


def _read_switch(number: int, value: str) -> bool:
    if value not in _SWITCH:
        raise ValueError(f"line {number}: read_only must be true or false")
    return _SWITCH[value]


def _read_roles(number: int, value: str) -> tuple[str, ...]:
    roles = tuple(role.strip() for role in value.split(","))
    try:
        for role in roles:
            quote_name(role)
    except ValueError as cause:
        raise ValueError(f"line {number}: roles are names with commas between: {cause}") from cause
    return roles


def _read_param(number: int, value: str) -> SavedParam:
    match = _PARAM.fullmatch(value)
    if match is None:
        raise ValueError(f"line {number}: a param is `name type`, or `name type = default`")
    name, type_name, default = match.groups()
    kind = type_by_name(type_name)
    if kind is None:
        shown = type_name[:SHOWN_NAME]
        raise ValueError(
            f"line {number}: param {name} has the unknown type '{shown}'"
            f"{did_you_mean(type_name, TYPE_NAMES)}; for a type of your own declare it as text "
            f"and write :{name}::{shown} in the statement"
        )
    return SavedParam(name, kind, _read_default(number, name, kind, default))


def _read_default(number: int, name: str, kind: SqlType, text: str | None) -> Raw | None:
    if text is None:
        return None
    try:
        default = decode_raw(text)
        encode_value(default, kind)
    except (DecodeError, RecursionError) as cause:
        raise ValueError(
            f'line {number}: the default of {name} is not JSON, such as 10, "text" or null'
        ) from cause
    except InvalidRequest as cause:
        raise ValueError(f"line {number}: the default of {name} {cause.detail}") from cause
    return default
