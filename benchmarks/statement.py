"""The statements that everybody is measured on."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

USERS = 100_000
MIXED_ROWS = 4_000_000
MIXED_COLUMNS = "id, quantity, label, amount, seen_at, is_open, ratio, key"
_PAGE_ROWS = 100
_STEP = 7919  # a prime: the ids jump about
_PARAMETER = re.compile(r":(\w+)")


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL with `:name` for each parameter, and their values, in order of their first place."""

    sql: str
    params: tuple[tuple[str, Any], ...] = ()  # Any: whatever JSON has

    def number(self) -> tuple[str, list[Any]]:
        """The same with $1, $2, … and a list of values."""
        names = [name for name, _ in self.params]
        sql = _PARAMETER.sub(lambda match: f"${names.index(match[1]) + 1}", self.sql)
        return sql, [value for _, value in self.params]


def select_user(user_id: int) -> Statement:
    """The point query: one row of five columns by its primary key."""
    sql = "select id, name, email, created_at, balance from users where id = :id"
    return Statement(sql, (("id", user_id),))


def select_page(first: int) -> Statement:
    """A hundred rows of eight columns of different types."""
    sql = f"select {MIXED_COLUMNS} from mixed where id >= :first order by id limit {_PAGE_ROWS}"
    return Statement(sql, (("first", first),))


def select_rows(rows: int) -> Statement:
    """As many rows of eight columns, in the order in which they lie in the table."""
    return Statement(f"select {MIXED_COLUMNS} from mixed limit {rows}")


def walk_users(count: int) -> Iterator[Statement]:
    """Point queries all over the table."""
    return (select_user(1 + n * _STEP % USERS) for n in range(count))


def walk_pages(count: int) -> Iterator[Statement]:
    """Pages all over the first million rows."""
    return (select_page(1 + n * _STEP * _PAGE_ROWS % 1_000_000) for n in range(count))
