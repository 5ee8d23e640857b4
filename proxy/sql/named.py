"""Named parameters: `:name` in SQL becomes `$1`.

`:name` is ours, not the server's, so it must not be mistaken for what the server knows: a cast
(`::name`), an argument (`f(a := b)`), a slice (`a[1:n]`, `a[:n]`) or a JSON member
(`json_object('a':b)`). Hence it isn't taken for a parameter directly behind a value or a name, and
the first colon directly inside of a subscript is the slice's; `a[(:n)]` has a parameter.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from proxy.sql.lexer import Kind, Token, tokenize

CACHED_STATEMENTS = 4096
CACHED_CHARACTERS = 16 * 1024

_VALUES = frozenset({Kind.STRING, Kind.DOLLAR, Kind.NUMBER, Kind.PARAMETER, Kind.QUOTED})
_NEEDS_BLANK = frozenset({Kind.WORD, Kind.OTHER})
_NOTHING = Token(Kind.SEMICOLON, "", -1)


@dataclass(frozen=True, slots=True)
class Rewritten:
    """SQL for the server, and what was in it."""

    sql: str
    names: tuple[str, ...] = ()
    """In the order of their numbers: `$1` is the first."""
    mixes: bool = False
    """It has `:name` and `$1` as well, so the numbers clash."""
    _starts: tuple[int, ...] = (0,)  # of text and parameter in turn, in `sql` …
    _origins: tuple[int, ...] = (0,)  # … and in the SQL as sent

    def position(self, server_position: int) -> int:
        """Map the server's position in `sql` to the SQL as sent; both in characters from 1."""
        offset = server_position - 1
        piece = bisect_right(self._starts, offset) - 1
        is_parameter = piece % 2 == 1
        return 1 + self._origins[piece] + (0 if is_parameter else offset - self._starts[piece])


def rewrite_named(sql: str, *, standard_strings: bool = True) -> Rewritten:
    """Give each distinct `:name` a number, in order of first appearance.

    `standard_strings` is the server's `standard_conforming_strings`.
    """
    rewrite = _rewrite_cached if len(sql) <= CACHED_CHARACTERS else _rewrite
    return rewrite(sql, standard_strings)


def _rewrite(sql: str, standard_strings: bool) -> Rewritten:
    if ":" not in sql:
        return Rewritten(sql)
    found = list(_find_parameters(sql, standard_strings))
    named = [token for token in found if token.kind is Kind.WORD]
    numbers = {name: n for n, name in enumerate(dict.fromkeys(t.text for t in named), 1)}
    origins = [0]
    pieces = []
    for token in named:
        colon = token.start - 1
        pieces += [sql[origins[-1] : colon], f"${numbers[token.text]}"]
        origins += [colon, token.end]
    starts = accumulate(map(len, pieces), initial=0)
    return Rewritten(
        "".join((*pieces, sql[origins[-1] :])),
        tuple(numbers),
        mixes=0 < len(named) < len(found),
        _starts=tuple(starts),
        _origins=tuple(origins),
    )


_rewrite_cached = lru_cache(CACHED_STATEMENTS)(_rewrite)


def _find_parameters(sql: str, standard_strings: bool) -> Iterator[Token]:
    """Find the parameters of both kinds; of a named one the name's token, without its colon."""
    subscripts = _Subscripts()
    before = colon = _NOTHING
    for token in tokenize(sql, standard_strings=standard_strings):
        is_named = token.kind is Kind.WORD and token.start == colon.end
        if is_named or token.kind is Kind.PARAMETER:
            yield token
        is_slice = subscripts.take(token, before)
        is_colon = token.text == ":" and not is_slice and not _is_operand(before, token)
        colon = token if is_colon else _NOTHING
        before = token


def _is_operand(before: Token, colon: Token) -> bool:
    """Whether what stands before the colon makes it a separator; a word may be a keyword."""
    if before.kind in _NEEDS_BLANK:
        return before.end == colon.start
    return before.kind in _VALUES or before.text in {")", "]"}


class _Subscripts:
    """Knows which colon belongs to a slice: the first directly inside of a subscript."""

    def __init__(self) -> None:
        self._open: list[str] = [""]  # "array" for a constructor's bracket, "[" for a subscript's

    def take(self, token: Token, before: Token) -> bool:
        """Pass over a token; whether it's the colon of a slice."""
        text = token.text
        if text == "(":
            self._open.append("(")
        elif text == "[":
            self._open.append("array" if self._is_constructor(before) else "[")
        elif text in {")", "]"} and len(self._open) > 1:
            self._open.pop()
        elif text == ":" and self._open[-1] == "[":
            self._open[-1] = "("
            return True
        return False

    def _is_constructor(self, before: Token) -> bool:
        is_nested = self._open[-1] == "array" and before.text in {"[", ","}
        return is_nested or (before.kind is Kind.WORD and before.text.lower() == "array")
