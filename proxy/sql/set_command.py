"""SET commands, read as settings."""

from collections.abc import Sequence

from proxy.sql.lexer import Kind, Token, tokenize
from proxy.sql.setting import is_name

_TIME_ZONE = ("time", "zone")
_UNUSABLE = frozenset({"default", "local", "interval"})


def parse_set(sql: str) -> tuple[str, str] | None:
    """Read `SET [SESSION] name = value`, `SET name TO a, b`, `SET TIME ZONE 'x'` as (name, value).

    None for everything else: SET LOCAL, which ends with its transaction, DEFAULT, and statements
    of another kind.
    """
    tokens = [token for token in tokenize(sql) if token.kind is not Kind.SEMICOLON]
    words = [token.text.lower() for token in tokens]
    if words[:1] != ["set"]:
        return None
    start = 2 if words[1:2] == ["session"] else 1
    if tuple(words[start : start + 2]) == _TIME_ZONE:
        return _setting("TimeZone", tokens[start + 2 :])
    end = next((place for place, word in enumerate(words) if word in {"=", "to"}), 0)
    if end <= start:
        return None
    name = sql[tokens[start].start : tokens[end - 1].end]
    return _setting(name, tokens[end + 1 :])


def _setting(name: str, tokens: Sequence[Token]) -> tuple[str, str] | None:
    if not is_name(name) or not tokens or tokens[0].text.lower() in _UNUSABLE:
        return None
    if tokens[0].text == "-":
        return (name, f"-{tokens[1].text}") if len(tokens) > 1 else None
    values = [_value(token) for token in tokens if token.text != ","]
    known = [value for value in values if value is not None]
    return (name, ", ".join(known)) if len(known) == len(values) else None


def _value(token: Token) -> str | None:
    if token.kind is Kind.STRING and token.text.startswith("'"):
        return token.text[1:-1].replace("''", "'")
    if token.kind in {Kind.WORD, Kind.NUMBER, Kind.QUOTED}:
        return token.text
    return None
