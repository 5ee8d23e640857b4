"""Names of tables and columns, as SQL has to have them. Imports nothing of ours."""

import re
from collections.abc import Iterable

MAX_NAME_BYTES = 63  # a longer one would be cut by the server, and mean another

_PART = re.compile(r'"((?:[^"]|"")+)"|([^".]+)')


def quote_name(name: str) -> str:
    """Quote one name, so that it means itself.

    Raises:
        ValueError: no name can be so; the sentence begins with "a name".
    """
    if not name:
        raise ValueError("a name is empty")
    if "\0" in name:
        raise ValueError("a name contains a NUL character")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"a name is longer than {MAX_NAME_BYTES} bytes")
    doubled = name.replace('"', '""')
    return f'"{doubled}"'


def quote_names(names: Iterable[str]) -> str:
    """Quote several names, with commas between them."""
    return ", ".join(map(quote_name, names))


def quote_table(text: str) -> str:
    """Quote `table` or `schema.table`; a part with a dot in it is written in double quotes.

    Upper and lower case mean themselves, since the text isn't SQL.

    Raises:
        ValueError: it isn't of this form.
    """
    parts, position = [], 0
    while match := _PART.match(text, position):
        quoted, plain = match.groups()
        parts.append(plain if quoted is None else quoted.replace('""', '"'))
        position = match.end() + 1
        if text[match.end() : position] != ".":
            break
    if position <= len(text) or len(parts) not in {1, 2}:
        raise ValueError('a table is named table or schema.table; "with.dot" takes double quotes')
    return ".".join(map(quote_name, parts))


def quote_literal(text: str) -> str:
    """Write a string literal; `standard_conforming_strings` is on."""
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
