"""A statement and its settings as the bytes of one flight."""

from collections.abc import Mapping, Sequence

from proxy.wire.messages import (
    DESCRIBE,
    EXECUTE_ALL,
    SYNC,
    build_bind,
    build_execute,
    build_parse,
)


def build_flight(
    sql: bytes,
    values: Sequence[bytes | None] = (),
    oids: Sequence[int] = (),
    *,
    settings: Mapping[str, str] | None = None,
    max_rows: int = 0,
) -> bytes:
    """Build the flight of one statement.

    Up to the Sync all of it is one implicit transaction on one server connection, so `settings`
    hold for this statement alone, in every pool mode.
    """
    return b"".join(
        (
            settings_prefix(settings) if settings else b"",
            build_parse(sql, _without_inferred_end(oids)),
            build_bind(values),
            DESCRIBE,
            build_execute(max_rows),
            SYNC,
        )
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
