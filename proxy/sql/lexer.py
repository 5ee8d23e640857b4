"""Tokens of SQL text, as the server's own lexer sees them.

Source: PostgreSQL documentation, "Lexical Structure", and the server's `scan.l`.
"""

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What a token is; the names are those of the groups in the pattern."""

    WORD = "WORD"
    """A keyword or an unquoted identifier."""
    QUOTED = "QUOTED"
    """A quoted identifier: `"…"`, `U&"…"`."""
    STRING = "STRING"
    """`'…'`, `E'…'`, `B'…'`, `X'…'`, `N'…'`, `U&'…'`, with what continues it on further lines."""
    DOLLAR = "DOLLAR"
    """A dollar-quoted string: `$$…$$`, `$tag$…$tag$`."""
    NUMBER = "NUMBER"
    PARAMETER = "PARAMETER"
    """`$1`."""
    OPERATOR = "OPERATOR"
    """A run of operator characters; the server may split a sign off its end, as in `=-1`."""
    PUNCTUATION = "PUNCTUATION"
    """`(`, `)`, `[`, `]`, `,`, `.`, `..`, `:`, `::`, `:=`."""
    SEMICOLON = "SEMICOLON"
    OTHER = "OTHER"
    """One character that means nothing in SQL."""


class Token(NamedTuple):
    """A token and where it stands, in characters from 0."""

    kind: Kind
    text: str
    start: int

    @property
    def end(self) -> int:
        """Where the next token can begin."""
        return self.start + len(self.text)


def tokenize(sql: str, *, standard_strings: bool = True) -> Iterator[Token]:
    """Find the tokens; blanks and comments are passed over.

    Takes linear time on any text. An unterminated string, name or comment reaches to the end of
    the text, where the server will say the error. `standard_strings` is the server's
    `standard_conforming_strings`: where it's off, `'…'` has backslashes as `E'…'` does.
    """
    match_at = (_STANDARD if standard_strings else _BACKSLASHED).match
    position = 0
    while match := match_at(sql, position):
        position = match.end()
        name = match.lastgroup or ""
        if name == _COMMENT:
            position = _end_of_comment(sql, match.start(_COMMENT))
            continue
        text = match[name]
        yield Token(_KINDS[name], text, position - len(text))


def _end_of_comment(sql: str, start: int) -> int:
    depth = 0
    for match in _COMMENT_MARK.finditer(sql, start):
        depth += 1 if match[0] == "/*" else -1
        if depth == 0:
            return match.end()
    return len(sql)


_COMMENT = "COMMENT"  # nests, so no pattern finds its end
_COMMENT_MARK = re.compile(r"/\*|\*/")
_KINDS = {kind.name: kind for kind in Kind}

_SKIPPED = r"(?:[ \t\n\r\f\v]++|--[^\n\r]*+)*+"
_LETTER = r"[A-Za-z_\x80-\U0010ffff]"  # every character outside of ASCII is one
_LETTER_OR_DIGIT = r"[A-Za-z0-9_\x80-\U0010ffff]"
_DIGITS = r"[0-9](?:_?[0-9])*+"
_OPERATOR = r"(?:(?!--|/\*)[~!@#^&|`?+\-*/%<>=])++"

_PLAIN = r"'[^']*+(?:''[^']*+)*+'?"
_ESCAPED = r"'[^'\\]*+(?:(?:''|\\.?)[^'\\]*+)*+'?"
_BITS = r"'[^']*+'?"  # no quotes in these
_LINE_BREAK = r"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]|--[^\n\r]*+[\n\r])*+"


def _compile(ordinary: str) -> re.Pattern[str]:
    """Compile the pattern of one token; `ordinary` is what stands in a string without prefix."""
    strings = {"[nN]?+": ordinary, "[eE]": _ESCAPED, "[uU]&": _PLAIN, "[bBxX]": _BITS}
    continued = (f"{prefix}{body}(?:{_LINE_BREAK}{body})*+" for prefix, body in strings.items())
    alternatives = {
        "STRING": "|".join(continued),
        "QUOTED": r'(?:[uU]&)?+"[^"]*+(?:""[^"]*+)*+"?',
        "WORD": rf"{_LETTER}[A-Za-z0-9_$\x80-\U0010ffff]*+",
        "NUMBER": r"0[xX](?:_?[0-9A-Fa-f])++|0[oO](?:_?[0-7])++|0[bB](?:_?[01])++"
        rf"|(?:{_DIGITS}(?:\.(?!\.)(?:{_DIGITS})?)?|\.{_DIGITS})(?:[eE][+-]?{_DIGITS})?",
        "SEMICOLON": ";",
        "PUNCTUATION": r"::|:=|\.\.|[()\[\],.:]",
        "PARAMETER": r"\$[0-9]++",
        "DOLLAR": rf"(?P<tag>\$(?:{_LETTER}{_LETTER_OR_DIGIT}*+)?\$)(?:.*?(?P=tag)|.*)",
        _COMMENT: r"/\*",
        "OPERATOR": _OPERATOR,
        "OTHER": ".",
    }
    groups = "|".join(f"(?P<{name}>{pattern})" for name, pattern in alternatives.items())
    return re.compile(f"{_SKIPPED}(?:{groups})", re.DOTALL)


_STANDARD = _compile(_PLAIN)
_BACKSLASHED = _compile(_ESCAPED)
