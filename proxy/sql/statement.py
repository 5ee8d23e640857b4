"""What a statement is, before it's sent: single, bound to a session, alone, …

Guards are courtesy, not walls: they know the words of a statement, and a DO block, a function or
a rule may do anything that they don't show.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from proxy.sql.bond import MARKS, find_session_bond, find_transaction_bond
from proxy.sql.lexer import Kind, Token, tokenize
from proxy.sql.setting import OUR_SETTINGS

CACHED_STATEMENTS = 4096
CACHED_CHARACTERS = 16 * 1024
LOOKED_AT_TOKENS = 8192  # about 10 ms; a longer statement shows what it is by then, or passes

_ENDING = "; \t\n\r\f\v"
_HARMLESS = frozenset({"select", "insert", "update", "delete", "merge", "with", "values"})
_SUSPECT = (";", *MARKS)
_LITERALS = {Kind.STRING: "''", Kind.DOLLAR: "''", Kind.NUMBER: "0"}
_ORDINARY_NAME = re.compile(r'"[a-z_][a-z0-9_$]*"')


@dataclass(frozen=True, slots=True)
class Statement:
    """What the words of a statement say; the two bonds are sentences that name the remedy."""

    keyword: str
    """The first word in lower case: `select`, `with`; empty where there is none."""
    is_empty: bool = False
    """Nothing but blanks, comments and semicolons."""
    is_single: bool = True
    bound_to_session: str | None = None
    """Why it needs a session of its own: it leaves something there, or uses what was left."""
    bound_to_transaction: str | None = None
    """Why it needs a transaction that lasts longer than the statement."""
    transaction_word: bool = False
    """It begins, ends or changes a transaction."""
    within_transaction: bool = False
    """It sets, releases or goes back to a savepoint."""
    changes_reading: bool = False
    """It changes, to the end of its transaction, how values or statements are to be read."""
    must_be_alone: bool = False
    """The server refuses it in a transaction block, so nothing may travel in front of it."""

    @property
    def is_copy(self) -> bool:
        """Whether it moves data by the COPY protocol."""
        return self.keyword == "copy"

    @property
    def can_commit_inside(self) -> bool:
        """Whether an error may leave something behind that was committed on the way."""
        return self.must_be_alone or self.keyword in {"call", "do"}


def describe_statement(sql: str, *, standard_strings: bool = True) -> Statement:
    """Describe a statement; of several ones in `sql`, the first.

    `standard_strings` is the server's `standard_conforming_strings`.
    """
    describe = _describe_cached if len(sql) <= CACHED_CHARACTERS else _describe
    return describe(sql, standard_strings)


def _describe(sql: str, standard_strings: bool) -> Statement:
    sql = sql.rstrip(_ENDING)
    keyword = _find_keyword(_look_at(sql, standard_strings))
    if keyword is None:
        return Statement("", is_empty=True)
    if keyword in _HARMLESS and not _is_suspect(sql.lower()):
        return Statement(keyword)
    words = _normalize(_look_at(sql, standard_strings))
    text = " ".join(words)
    return Statement(
        keyword,
        is_single=_is_single(words),
        bound_to_session=find_session_bond(text),
        bound_to_transaction=find_transaction_bond(text),
        transaction_word=_TRANSACTION_WORD.match(text) is not None,
        within_transaction=_WITHIN_TRANSACTION.match(text) is not None,
        changes_reading=_READING.match(text) is not None,
        must_be_alone=_ALONE.match(text) is not None,
    )


_describe_cached = lru_cache(CACHED_STATEMENTS)(_describe)


def _look_at(sql: str, standard_strings: bool) -> Iterator[Token]:
    return islice(tokenize(sql, standard_strings=standard_strings), LOOKED_AT_TOKENS)


def _is_suspect(text: str) -> bool:
    return any(mark in text for mark in _SUSPECT)


def _find_keyword(tokens: Iterable[Token]) -> str | None:
    """Find the first word, inside of parentheses too: `(select …`; None without any token."""
    keyword = None
    for token in tokens:
        if token.kind is Kind.SEMICOLON:
            continue
        if token.text != "(":
            return token.text.lower() if token.kind is Kind.WORD else ""
        keyword = ""
    return keyword


def _normalize(tokens: Iterable[Token]) -> list[str]:
    """Take away whatever could be mistaken for a word: the contents of literals, odd names."""
    words = [_normalize_token(token) for token in tokens]
    start = next(index for index, word in enumerate(words) if word != ";")
    return words[start:]


def _normalize_token(token: Token) -> str:
    if token.kind is Kind.WORD:
        return token.text.lower()
    if token.kind is Kind.QUOTED:
        return token.text if _ORDINARY_NAME.fullmatch(token.text) else '""'
    return _LITERALS.get(token.kind, token.text)


def _is_single(words: Sequence[str]) -> bool:
    """Whether no semicolon is followed by another statement.

    Those in parentheses (CREATE RULE) and in a routine's BEGIN ATOMIC … END don't count; nor does
    the END of a CASE in there.
    """
    if ";" not in words:
        return True
    opening, closing = {"("}, {")"}
    if _ROUTINE.match(" ".join(words[:4])):
        opening, closing = {"(", "begin", "case"}, {")", "end"}
    depth = 0
    for index, word in enumerate(words):
        depth = max(0, depth + (word in opening) - (word in closing))
        if word == ";" and depth == 0:
            return all(later == ";" for later in words[index:])
    return True


_ROUTINE = re.compile(r"create (?:or replace )?(?:function|procedure)\b")

_TRANSACTION_WORD = re.compile(
    r"(?:begin|end|abort|savepoint|release)\b"
    r"|start transaction\b|prepare transaction\b"
    r"|(?:commit|rollback)\b(?! prepared\b)"
    r"|set (?:session |local )?transaction\b"
)

_WITHIN_TRANSACTION = re.compile(r"(?:savepoint|release)\b|rollback (?:work |transaction )?to\b")

_READING = re.compile(rf'set local (?:"?(?:{"|".join(sorted(OUR_SETTINGS))})"?(?: |$)|names\b)')

# Source: the calls of PreventInTransactionBlock() in the server's code. Of REINDEX and CLUSTER on a
# partitioned table the words don't tell.
_ALONE = re.compile(
    r"vacuum\b"
    r"|alter system\b"
    r"|(?:create|drop) (?:database|tablespace)\b"
    r"|alter database \S+ set tablespace\b"
    r"|(?:create (?:unique )?|drop )index concurrently\b"
    r"|alter table (?=.* detach partition ).* concurrently$"
    r"|reindex (?:\( [^()]* \) )?(?:database|schema|system)\b"
    r"|reindex .*\bconcurrently\b"
    r"|cluster(?: verbose| \( [^()]* \))?$"
    r"|(?:commit|rollback) prepared\b"
    r"|create subscription (?!.*\b(?:connect|create_slot) = false\b)"
    r"|drop subscription\b"
    r"|alter subscription \S+ set \( .*\b(?:failover|two_phase = false)\b"
    r"|alter subscription (?!.*\brefresh = false\b)\S+ (?:(?:add|drop|set) publication|refresh)\b"
)
