"""A statement and what protects it, as the bytes of one flight."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from proxy.wire.copy_feed import CopyFeed
from proxy.wire.messages import (
    DESCRIBE,
    DESCRIBE_STATEMENT,
    EXECUTE_ALL,
    FLUSH,
    SYNC,
    Flight,
    build_bind,
    build_execute,
    build_parse,
)

Isolation = Literal["read committed", "repeatable read", "serializable"]


@dataclass(frozen=True, slots=True)
class Transaction:
    """What a statement asks of its transaction.

    `proves_read_only` has the end fail where something was written in spite of `read_only`: up to
    Postgres 15 a statement can take that back by resetting transaction_read_only. What has written
    has a transaction id, which nothing takes away.

    `is_block` says that the upstream takes BEGIN. A statement pool doesn't; there the flight's
    implicit transaction gets isolation and read-only from its prefix, and a dry run can't be.
    """

    isolation: Isolation | None = None
    read_only: bool = False
    dry_run: bool = False
    is_block: bool = True
    proves_read_only: bool = False


def build_flight(
    sql: bytes,
    values: Sequence[bytes | None] = (),
    oids: Sequence[int] = (),
    *,
    settings: Mapping[str, str] | None = None,
    transaction: Transaction | None = None,
    max_rows: int = 0,
) -> Flight:
    """Build the flight of one statement.

    Up to the Sync all of it is one transaction on one server connection, so `settings` hold for
    this statement alone, in every pool mode.
    """
    statement = (
        build_parse(sql, _without_inferred_end(oids)),
        build_bind(values),
        DESCRIBE,
        build_execute(max_rows),
    )
    return _enclose(statement, settings, transaction)


class BatchStatement(NamedTuple):
    """One statement of a batch, to be run once for each of its sets of values."""

    sql: bytes
    sets: Sequence[Sequence[bytes | None]]
    oids: Sequence[int]


def build_batch_flight(
    statements: Sequence[BatchStatement],
    settings: Mapping[str, str] | None = None,
    transaction: Transaction | None = None,
) -> Flight:
    """Build the flight of several statements, which one Sync makes one transaction.

    Each is described once, with its first set of values.
    """
    messages: list[bytes] = []
    for statement in statements:
        messages.append(build_parse(statement.sql, _without_inferred_end(statement.oids)))
        for number, values in enumerate(statement.sets):
            messages += (build_bind(values), b"" if number else DESCRIBE, EXECUTE_ALL)
    flight = _enclose(messages, settings, transaction, goes_on=True)
    return flight._replace(more=sum(len(statement.sets) for statement in statements) - 1)


def _enclose(
    messages: Sequence[bytes],
    settings: Mapping[str, str] | None,
    transaction: Transaction | None,
    *,
    goes_on: bool = False,
) -> Flight:
    """Put around a statement's messages what protects them; it `goes_on` with other statements."""
    prefixes, end = _transaction_messages(transaction) if transaction else ([], b"")
    if transaction and transaction.read_only and not transaction.is_block:
        settings = {**(settings or {}), "transaction_read_only": "on"}
    if settings:
        prefixes.append(settings_prefix(settings))
    elif goes_on and transaction and transaction.read_only:
        prefixes.append(_TAKE_SNAPSHOT)
    return Flight(b"".join((*prefixes, *messages, end, SYNC)), len(prefixes))


def build_begin_flight(transaction: Transaction, settings: Mapping[str, str]) -> Flight:
    """Build the flight that opens a transaction; `settings` hold to its end."""
    prefixes, _ = _transaction_messages(transaction)
    if settings:
        prefixes.append(settings_prefix(settings))
    elif transaction.read_only:
        prefixes.append(_TAKE_SNAPSHOT)
    return Flight(b"".join((*prefixes, SYNC)), len(prefixes))


def build_end_flight(
    command: Literal["commit", "rollback"], *, proves_read_only: bool = False
) -> Flight:
    """Build the flight that ends an open transaction."""
    proof = _PROVE_READ_ONLY if proves_read_only else b""
    return Flight(proof + _command(command) + SYNC, int(proves_read_only))


def build_describe_flight(sql: bytes, oids: Sequence[int], settings: Mapping[str, str]) -> Flight:
    """Build the flight that asks for a statement's parameters and columns, and runs nothing."""
    prefix = settings_prefix(settings) if settings else b""
    parse = build_parse(sql, _without_inferred_end(oids))
    return Flight(b"".join((prefix, parse, DESCRIBE_STATEMENT, SYNC)), int(bool(prefix)))


def build_copy_flight(sql: bytes, feed: CopyFeed, settings: Mapping[str, str]) -> Flight:
    """Build the flight of a COPY … FROM STDIN, whose data and Sync come from `feed`.

    It ends in a Flush: a Sync sent now would be swallowed by the server, which waits for data.
    """
    prefix = settings_prefix(settings) if settings else b""
    data = b"".join((prefix, build_parse(sql), build_bind(()), EXECUTE_ALL, FLUSH))
    return Flight(data, int(bool(prefix)), feed)


def _transaction_messages(transaction: Transaction) -> tuple[list[bytes], bytes]:
    """Build what goes before the settings, and what goes behind the statement."""
    proof = _PROVE_READ_ONLY if transaction.proves_read_only else b""
    level = f" isolation level {transaction.isolation}" if transaction.isolation else ""
    if not transaction.is_block:
        return ([_command(f"set transaction{level}")] if level else []), proof
    access = " read only" if transaction.read_only else ""
    end = proof + _command("rollback" if transaction.dry_run else "commit")
    return [_command(f"begin{level}{access}")], end


def _command(sql: str) -> bytes:
    return build_parse(sql.encode()) + build_bind(()) + EXECUTE_ALL


# SET LOCAL transaction_read_only = off works up to the first snapshot, which any query takes.
_TAKE_SNAPSHOT = _command("select where false")
_PROVE_READ_ONLY = _command(
    "select where (case when pg_catalog.pg_current_xact_id_if_assigned() is null then 'on' "
    "else 'read_only was taken back, so all of it is undone' end)::bool is null"
)


def _without_inferred_end(oids: Sequence[int]) -> Sequence[int]:
    """Drop the zeros at the end: for the server even they are parameters that the SQL must have.

    A surplus value would be 42P18 at Parse, for want of a type; so it is 08P01 at Bind.
    """
    end = len(oids)
    while end and not oids[end - 1]:
        end -= 1
    return oids[:end]


def settings_prefix(settings: Mapping[str, str]) -> bytes:
    """Build the messages that set `settings` for the rest of the flight.

    Parse, Bind and Execute of one select over set_config(name, value, is_local) that returns no
    row; names and values are bound, so they need no quoting.

    Source: PostgreSQL documentation, "Extended Query" (the Sync ends the implicit transaction),
    and docs/adr/0003-settings-travel-in-the-flight.md
    """
    pairs = [text.encode() for pair in settings.items() for text in pair]
    calls = " or ".join(
        f"pg_catalog.set_config(${number},${number + 1},true) is null"
        for number in range(1, len(pairs), 2)
    )
    sql = f"select 1 where {calls}".encode()
    return build_parse(sql) + build_bind(pairs) + EXECUTE_ALL
