"""A saved query: a statement from a file, with names and types for its parameters."""

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec import Raw

from proxy.errors import Forbidden, InvalidRequest
from proxy.query.front_matter import FrontMatter, SavedParam, parse_front_matter
from proxy.query.params import SHOWN_NAME, did_you_mean, encode_value
from proxy.sql.lexer import Kind, tokenize
from proxy.sql.named import Rewritten, rewrite_named
from proxy.sql.statement import describe_statement


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """What a file holds, checked; its parameters are those of the statement."""

    front: FrontMatter
    rewritten: Rewritten

    @property
    def name(self) -> str:
        """Its name in URLs."""
        return self.front.name

    @property
    def types(self) -> list[str | None]:
        """The types of $1, $2, …"""
        return [self.front.params[name].kind.name for name in self.rewritten.names]

    def describe(self) -> dict[str, object]:
        """Say of it what a client needs to know."""
        front = self.front
        return {
            "name": front.name,
            "description": front.description,
            "params": [_describe(param) for param in front.params.values()],
            "read_only": front.read_only,
            "roles": front.roles,
        }

    def bind(self, given: Mapping[str, Raw]) -> list[Raw]:
        """Bring values, and defaults for those that aren't given, into the order of $1, $2, …

        Raises:
            InvalidRequest: names the parameter and its type, never a value.
        """
        params = self.front.params
        for name in given:
            if name not in params:
                raise InvalidRequest(
                    f"{self.name} has no parameter '{name[:SHOWN_NAME]}'"
                    f"{did_you_mean(name, params)}"
                )
        return [_choose(params[name], given.get(name)) for name in self.rewritten.names]

    def check_role(self, role: str | None) -> None:
        """Raise Forbidden for a role that its file doesn't list."""
        roles = self.front.roles
        if role is not None and roles is not None and role not in roles:
            raise Forbidden(
                f"{self.name} may not run as '{role[:SHOWN_NAME]}'; its file lists the roles "
                "that a request may ask for"
            )


def parse_saved(text: str, stem: str) -> SavedQuery:
    """Read the text of a file; `stem` is its name, for a query that has no other.

    Raises:
        ValueError: the sentence says what is wrong.
    """
    front, sql = parse_front_matter(text, stem)
    if "\0" in sql:
        raise ValueError("it contains a NUL character; remove it")
    statement = describe_statement(sql)
    if statement.is_empty:
        raise ValueError("it holds no statement")
    if not statement.is_single:
        raise ValueError("it holds more than one statement; write one per file")
    if any(token.kind is Kind.PARAMETER for token in tokenize(sql)):
        raise ValueError("its statement has a parameter by number, such as $1; write :name")
    rewritten = rewrite_named(sql)
    _check_params(front, rewritten)
    return SavedQuery(front, rewritten)


def _check_params(front: FrontMatter, rewritten: Rewritten) -> None:
    for name in rewritten.names:
        if name not in front.params:
            raise ValueError(
                f"its statement has :{name[:SHOWN_NAME]}, and no line `-- param: "
                f"{name[:SHOWN_NAME]} type` at its top{did_you_mean(name, front.params)}"
            )
    for name in front.params:
        if name not in rewritten.names:
            raise ValueError(
                f"its statement has no :{name[:SHOWN_NAME]} for the param of that name"
                f"{did_you_mean(name, rewritten.names)}"
            )


def _choose(param: SavedParam, given: Raw | None) -> Raw:
    place = f"the parameter '{param.name}' ({param.kind.name})"
    value = param.default if given is None else given
    if value is None:
        raise InvalidRequest(f"{place} is missing")
    try:
        encode_value(value, param.kind)
    except InvalidRequest as error:
        raise InvalidRequest(f"{place} {error.detail}") from error
    return value


def _describe(param: SavedParam) -> dict[str, object]:
    required = param.default is None
    known = {"name": param.name, "type": param.kind.name, "required": required}
    return known if required else {**known, "default": param.default}
