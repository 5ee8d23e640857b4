"""What a database has, read by SQLAlchemy's inspector, as JSON.

Columns are read by a query of our own, since the inspector has no name for the types of
extensions and for composite ones.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias, cast

import orjson
from sqlalchemy import Connection, inspect, text
from sqlalchemy.dialects.postgresql.base import PGInspector
from sqlalchemy.engine.reflection import ObjectKind

from proxy.errors import NotFound, ResultTooLarge

MAX_TABLES = 5000
BATCH = 50  # tables that are read at once; in between the event loop has other work done
SYSTEM = frozenset({"information_schema"})  # the inspector leaves pg_… out itself
Document: TypeAlias = dict[str, Any]  # as orjson takes it
Wanted: TypeAlias = dict[str, Any]  # arguments of the inspector
Key: TypeAlias = tuple[str | None, str]  # schema and table

_COLUMNS = text("""
select cast(c.relname as text), cast(a.attname as text),
       cast(coalesce(e.typname || '[]', t.typname) as text),
       pg_catalog.format_type(a.atttypid, a.atttypmod),
       not (a.attnotnull or t.typnotnull), pg_catalog.pg_get_expr(d.adbin, d.adrelid),
       cast(a.attidentity as text), cast(a.attgenerated as text),
       pg_catalog.col_description(c.oid, a.attnum)
from pg_catalog.pg_class c
join pg_catalog.pg_namespace n on n.oid = c.relnamespace
join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
join pg_catalog.pg_type t on t.oid = a.atttypid
left join pg_catalog.pg_type e on e.oid = t.typelem and e.typarray = t.oid
left join pg_catalog.pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
where n.nspname = cast(:schema as text) and c.relname = any(cast(:tables as text[]))
      and c.relkind in ('r', 'p', 'f', 'v', 'm')
order by c.relname, a.attnum
""")
_IDENTITY = {"a": "always", "d": "by default"}
_STORAGE = {"s": "stored", "v": "virtual"}


def read_schemas(connection: Connection, wanted: str | None, max_bytes: int) -> bytes:
    """Read one schema, or all but the system's, as the JSON document of `/v1/schema`.

    Raises:
        NotFound: there is no such schema.
        ResultTooLarge: it has too many tables, or the document would have too many bytes.
    """
    inspector = cast("PGInspector", inspect(connection))
    kinds = {name: _list_tables(inspector, name) for name in _list_schemas(inspector, wanted)}
    if sum(map(len, kinds.values())) > MAX_TABLES:
        raise ResultTooLarge(f"there are more than {MAX_TABLES} tables; ask for one schema")
    pieces, size = [], 0
    for schema, tables in kinds.items():
        encoded = []
        for table in _read_tables(inspector, schema, tables):
            encoded.append(orjson.dumps(table))
            size += len(encoded[-1])
            if size > max_bytes:
                raise ResultTooLarge(
                    f"the answer has more than {max_bytes} bytes; ask for one schema, "
                    "or raise limits.bytes"
                )
        pieces.append(b'{"name":%b,"tables":[%b]}' % (orjson.dumps(schema), b",".join(encoded)))
    return b'{"schemas":[%b]}' % b",".join(pieces)


def _list_schemas(inspector: PGInspector, wanted: str | None) -> list[str]:
    if wanted is None:
        return [name for name in inspector.get_schema_names() if name not in SYSTEM]
    if not inspector.has_schema(wanted):
        raise NotFound("there is no schema of this name; GET /v1/schema without it shows all")
    return [wanted]


def _list_tables(inspector: PGInspector, schema: str) -> dict[str, str]:
    """List the kind of everything that has columns, by name."""
    listed: dict[str, Callable[[str], list[str]]] = {
        "table": inspector.get_table_names,
        "foreign_table": inspector.get_foreign_table_names,
        "view": inspector.get_view_names,
        "materialized_view": inspector.get_materialized_view_names,
    }
    return {name: kind for kind, names in listed.items() for name in names(schema)}


def _read_tables(
    inspector: PGInspector, schema: str, kinds: Mapping[str, str]
) -> Iterator[Document]:
    names = iter(sorted(kinds))
    while batch := list(islice(names, BATCH)):
        wanted: Wanted = {"schema": schema, "filter_names": batch, "kind": ObjectKind.ANY}
        columns = _read_columns(inspector, schema, batch)
        comments = inspector.get_multi_table_comment(**wanted)
        primary = inspector.get_multi_pk_constraint(**wanted)
        foreign = _read_foreign_keys(inspector, wanted)
        unique = inspector.get_multi_unique_constraints(**wanted)
        indexes = inspector.get_multi_indexes(**wanted)
        for name in batch:
            key = (schema, name)
            yield {
                "name": name,
                "kind": kinds[name],
                "comment": comments.get(key, {"text": None})["text"],
                "columns": columns[name],
                "primary_key": _describe_primary(primary.get(key)),
                "foreign_keys": foreign.get(key, []),
                "unique": [_describe_unique(item) for item in _sort(unique.get(key))],
                "indexes": [_describe_index(item) for item in _sort(indexes.get(key))],
            }


def _sort(items: Any) -> list[Any]:  # of the inspector's dictionaries
    return sorted(items or (), key=lambda item: item["name"])


def _read_columns(
    inspector: PGInspector, schema: str, tables: Sequence[str]
) -> Mapping[str, list[Document]]:
    columns: dict[str, list[Document]] = defaultdict(list)
    connection = cast("Connection", inspector.bind)
    rows = connection.execute(_COLUMNS, {"schema": schema, "tables": tables})
    for table, name, kind, declared, nullable, value, identity, generated, comment in rows:
        storage = _STORAGE.get(generated)
        columns[table].append(
            {
                "name": name,
                "type": kind,
                "declared": declared,
                "nullable": nullable,
                "default": None if storage else value,
                "identity": _IDENTITY.get(identity),
                "generated": {"expression": value, "storage": storage} if storage else None,
                "comment": comment,
            }
        )
    return columns


def _read_foreign_keys(inspector: PGInspector, wanted: Wanted) -> Mapping[Key, list[Document]]:
    found = inspector.get_multi_foreign_keys(**wanted)
    exact = found
    if any(item["referred_schema"] is None for items in found.values() for item in items):
        # the table is on the search path, and in another schema: asked so, it is named, too …
        exact = inspector.get_multi_foreign_keys(**wanted, postgresql_ignore_search_path=True)
    return {
        key: [
            _describe_foreign(item, _find_schema(inspector, wanted["schema"], item, other))
            for item, other in zip(_sort(items), _sort(exact[key]), strict=True)
        ]
        for key, items in found.items()
    }


def _find_schema(inspector: PGInspector, own: str, item: Any, exact: Any) -> str | None:
    if item["referred_schema"] is not None:
        return cast("str", item["referred_schema"])
    # … unless it's the default schema, for which the inspector then says the table's own
    other = cast("str", exact["referred_schema"])
    return inspector.default_schema_name if other == own else other


def _describe_foreign(item: Any, schema: str | None) -> Document:
    options = item["options"]
    return {
        "name": item["name"],
        "columns": item["constrained_columns"],
        "references": {
            "schema": schema,
            "table": item["referred_table"],
            "columns": item["referred_columns"],
        },
        "on_update": options.get("onupdate", "NO ACTION"),
        "on_delete": options.get("ondelete", "NO ACTION"),
    }


def _describe_primary(key: Any) -> Document | None:
    if not key or key["name"] is None:
        return None
    return {"name": key["name"], "columns": key["constrained_columns"]}


def _describe_unique(item: Any) -> Document:
    return {"name": item["name"], "columns": item["column_names"]}


def _describe_index(item: Any) -> Document:
    options = item.get("dialect_options", {})
    return {
        "name": item["name"],
        "columns": item.get("expressions", item["column_names"]),
        "include": options.get("postgresql_include", []),
        "unique": item["unique"],
        "method": options.get("postgresql_using", "btree"),
        "where": options.get("postgresql_where"),
    }
