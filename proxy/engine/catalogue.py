"""The types of the database, by OID: the built-in ones, and others as they are first seen."""

from collections.abc import Iterable, Mapping

from proxy.engine.connection import UpstreamConnection
from proxy.engine.deadline import Deadline
from proxy.engine.flight import build_flight
from proxy.errors import ProxyError
from proxy.sql.types import BUILTIN, SqlType
from proxy.wire.rowset import RowSet

# An array's element is always in pg_type; a domain never reaches a RowDescription
_LOOK_UP = b"""
select t.oid, t.typname, coalesce(e.oid, 0), e.typname, t.typdelim
from pg_catalog.pg_type t
left join pg_catalog.pg_type e on e.oid = t.typelem and e.typarray = t.oid
where t.oid = any($1::oid[])
"""
MAX_TYPES = 10_000


class TypeCatalogue:
    """Knows the types, and asks the server for the others on a connection that is lent anyway."""

    def __init__(self) -> None:
        self._types: dict[int, SqlType] = dict(BUILTIN)

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
        unknown = sorted({oid for oid in oids if oid not in self._types})
        if not unknown or len(self._types) > MAX_TYPES:
            return
        rows = RowSet()
        literal = "{" + ",".join(map(str, unknown)) + "}"
        try:
            await connection.run(build_flight(_LOOK_UP, [literal.encode()]), rows, deadline)
        except ProxyError:
            return
        for row in rows.rows:
            self._add(*(cell.decode() if cell is not None else "" for cell in row))

    def _add(self, oid: str, name: str, element_oid: str, element: str, delimiter: str) -> None:
        if element_oid == "0":
            self._types[int(oid)] = SqlType(int(oid), name)
            return
        inner = self._types.get(int(element_oid)) or SqlType(
            int(element_oid), element, delimiter=delimiter
        )
        self._types[int(oid)] = SqlType(int(oid), f"{element}[]", inner, delimiter)
