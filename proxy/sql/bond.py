"""What ties a statement to a session or to a transaction, and what to write instead.

The text that is searched has one blank between its tokens, its words in lower case and no contents
of literals, as `statement.py` makes it.
"""

import re
from collections.abc import Iterable

_SHARED = "a session, which other requests use, too"
_SET = f"would hold for {_SHARED}"
_LAST = f"tells what happened last in {_SHARED}; use RETURNING"
_TEMPORARY = (
    f"a temporary table lives in {_SHARED}; use a WITH query, or a transaction and ON COMMIT DROP"
)


def find_session_bond(text: str) -> str | None:
    """Say why the statement needs a session of its own; None if it doesn't."""
    return _first_match(_SESSION, text) or _first_mark(text)


def find_transaction_bond(text: str) -> str | None:
    """Say why the statement needs a transaction that outlasts it; None if it doesn't."""
    return _first_match(_TRANSACTION, text)


Rules = Iterable[tuple[re.Pattern[str], str]]


def _compile(rules: dict[str, str]) -> Rules:
    return tuple((re.compile(pattern), sentence) for pattern, sentence in rules.items())


def _first_match(rules: Rules, text: str) -> str | None:
    return next((sentence for pattern, sentence in rules if pattern.match(text)), None)


def _first_mark(text: str) -> str | None:
    for mark, (pattern, sentence) in _ANYWHERE.items():
        if mark in text and pattern.search(text):
            return sentence
    return None


def _call_of(name: str, arguments: str = "") -> re.Pattern[str]:
    """Match calls of a function of the server, but not of its namesakes in other schemas."""
    schema = r'(?:^|(?<! \.) |(?:^| )"?pg_catalog"? \. )'
    return re.compile(rf'{schema}"?{name}"? \({arguments}')


_SESSION = _compile(
    {
        r"set (?:session )?role\b": f"SET ROLE {_SET}; give the role in `role`",
        r"set (?:session )?session authorization\b": (
            f"SET SESSION AUTHORIZATION {_SET}; give the role in `role`"
        ),
        r"set session characteristics\b": (
            f"SET SESSION CHARACTERISTICS {_SET}; give `isolation` or `read_only`"
        ),
        r"set (?!local\b|constraints\b|(?:session )?transaction\b)": (
            f"SET {_SET}; give the setting in `settings`"
        ),
        r"reset\b": (
            f"RESET {_SET}; leave it out, since nothing that a request sets outlives its statement"
        ),
        r"discard\b": (
            f"DISCARD clears {_SHARED}; leave it out, since your requests leave nothing there"
        ),
        r"(?:un)?listen\b": (
            "LISTEN and UNLISTEN need a connection of their own, and requests share theirs; "
            "use GET /v1/listen"
        ),
        r"load\b": (f"LOAD {_SET}; name the library in session_preload_libraries on the server"),
        r"(?:prepare(?! transaction\b)|execute|deallocate)\b": (
            f"a prepared statement lives in {_SHARED}; send the statement itself with `params`"
        ),
        r"declare .* with hold\b": (
            f"a cursor WITH HOLD lives in {_SHARED}; run its query and take all rows at once"
        ),
        r"create (?:or replace )?(?:local |global )?temp(?:orary)? (?!.* on commit drop\b)": (
            _TEMPORARY
        ),
    }
)

_TRANSACTION = _compile(
    {
        r"(?:fetch|move|close|declare(?!.* with hold\b))\b": (
            "a cursor lives in a transaction, which ends with the statement here; "
            "run the query itself and take all rows at once"
        ),
        r"create (?:local |global )?temp(?:orary)? .* on commit drop\b": (
            "a table with ON COMMIT DROP lives in a transaction, which ends with the statement "
            "here; use a WITH query"
        ),
    }
)

_ANYWHERE = {
    "temp": (
        re.compile(
            r"(?<!insert )(?<!merge )\binto (?:local |global )?temp(?:orary)? (?!from\b)"
            r'|(?:^| )"?pg_temp(?:_[0-9]+)?"? \.'
        ),
        _TEMPORARY,
    ),
    "advisory": (
        _call_of("pg_(?:try_)?advisory_(?:un)?lock(?:_shared|_all)?"),
        f"pg_advisory_lock() locks for {_SHARED}; use pg_advisory_xact_lock()",
    ),
    "lastval": (_call_of("lastval"), f"lastval() {_LAST}"),
    "currval": (_call_of("currval"), f"currval() {_LAST}"),
    "set_config": (
        _call_of("set_config", r"(?:[^()]++|\([^()]*+\))*+\)(?<=, false \))"),
        f"set_config(…, false) {_SET}; give the setting in `settings`",
    ),
}
MARKS = tuple(_ANYWHERE)
"""One of these is in every statement that is bound by something else than its first words."""
