"""The types of the database, by OID: the built-in ones, and others as they are first seen."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.driver import Driver, translate_driver_errors
from proxy.engine.flight import build_flight
from proxy.errors import ProxyError
from proxy.sql.types import BUILTIN, SqlType
from proxy.wire.rowset import RowSet

# An array's element is always in pg_type; a domain never reaches a RowDescription
_LOOK_UP = """
select t.oid::text, t.typname::text, coalesce(e.oid, 0)::text, e.typname::text, t.typdelim::text
from pg_catalog.pg_type t
left join pg_catalog.pg_type e on e.oid = t.typelem and e.typarray = t.oid
where t.oid = any($1::text::oid[])
"""
MAX_TYPES = 10_000

OpenBeside: TypeAlias = Callable[[], AbstractAsyncContextManager[Driver]]


class TypeCatalogue:
    """Knows the types, and asks the server for the others as they are first seen."""

    def __init__(self, open_beside: OpenBeside) -> None:
        self._types: dict[int, SqlType] = dict(BUILTIN)
        self._open_beside = open_beside
        self._lock = asyncio.Lock()

    @property
    def types(self) -> Mapping[int, SqlType]:
        """What is known so far."""
        return self._types

    async def learn(
        self, connection: UpstreamConnection, oids: Iterable[int], deadline: Deadline
    ) -> None:
        """Look up those of `oids` that aren't known; a failure leaves them unknown.

        The statement whose answer needs them has been executed by then, so it must not fail.
        """
        unknown = self._find_unknown(oids)
        if not unknown:
            return
        rows = RowSet()
        try:
            await connection.run(
                build_flight(_LOOK_UP.encode(), [unknown.encode()]), rows, deadline
            )
        except ProxyError:
            return
        for row in rows.rows:
            self._add(*(cell.decode() if cell is not None else "" for cell in row))

    async def learn_beside(self, oids: Collection[int], deadline: Deadline) -> None:
        """Look them up while their statement runs, on one more connection, one at a time.

        Raises:
            UpstreamUnavailable, UpstreamAuth
        """
        if not self._find_unknown(oids):
            return
        with translate_driver_errors():
            async with asyncio.timeout_at(deadline.at), self._lock:
                unknown = self._find_unknown(oids)  # another stream may have been quicker
                if not unknown:
                    return
                async with self._open_beside() as driver:
                    for row in await driver.fetch(_LOOK_UP, unknown):
                        self._add(*(cell or "" for cell in row))

    def _find_unknown(self, oids: Iterable[int]) -> str:
        """Write those that aren't known as an array literal; empty where nothing is to be done."""
        unknown = sorted({oid for oid in oids if oid not in self._types})
        if not unknown or len(self._types) > MAX_TYPES:
            return ""
        return "{" + ",".join(map(str, unknown)) + "}"

    def _add(self, oid: str, name: str, element_oid: str, element: str, delimiter: str) -> None:
        if element_oid == "0":
            self._types[int(oid)] = SqlType(int(oid), name)
            return
        inner = self._types.get(int(element_oid)) or SqlType(
            int(element_oid), element, delimiter=delimiter
        )
        self._types[int(oid)] = SqlType(int(oid), f"{element}[]", inner, delimiter)
