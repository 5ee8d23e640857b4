"""The table of built-in types, compared with the server; and the types that it hasn't."""

import asyncpg
import pytest

from proxy.sql.types import BUILTIN
from tests.fixtures.service import Client, observe, run_client

FIRST_NORMAL_OID = 16384
PSEUDO_TYPES = ("unknown", "record", "cstring", "anyarray", "void")


@pytest.fixture(scope="module")
async def server_types(postgres):
    """Every built-in type of the server that a column can have and that is no array."""
    observer = await asyncpg.connect(postgres.superuser_dsn)
    rows = await observer.fetch(
        "select oid, typname as name, typarray as array_oid, typdelim::text as delimiter "
        "from pg_type t where oid < $1 and typrelid = 0 "
        "and not exists (select from pg_type e where e.typarray = t.oid) "
        "and (typtype in ('b', 'r', 'm') or typname = any($2))",
        FIRST_NORMAL_OID,
        PSEUDO_TYPES,
    )
    await observer.close()
    return rows


def test_the_table_of_types_is_that_of_the_server(server_types):
    table = [kind for kind in BUILTIN.values() if kind.element is None]
    assert {(kind.oid, kind.name, kind.delimiter) for kind in table} == {
        (row["oid"], row["name"], row["delimiter"]) for row in server_types
    }


def test_the_table_of_arrays_is_that_of_the_server(server_types):
    arrays = {kind.oid: kind.element.oid for kind in BUILTIN.values() if kind.element is not None}
    assert arrays == {row["array_oid"]: row["oid"] for row in server_types if row["array_oid"]}


def test_an_array_is_named_and_cut_as_its_element():
    arrays = [kind for kind in BUILTIN.values() if kind.element is not None]
    for kind in arrays:
        assert kind.name == f"{kind.element.name}[]"
        assert kind.delimiter == kind.element.delimiter


async def test_a_type_of_the_database_is_named(client: Client):
    sql = "select 'sad'::mood as mood, array['sad']::mood[] as moods, row('a', 'b')::address"
    reply = await client.query(sql)
    assert [column["type"] for column in reply.json["columns"]] == ["mood", "mood[]", "address"]
    assert reply.json["rows"] == [{"mood": "sad", "moods": ["sad"], "row": "(a,b)"}]


async def test_the_row_type_of_a_table_is_named(client: Client):
    reply = await client.query("select seats, array[seats] as several from seats where id = 20")
    assert [column["type"] for column in reply.json["columns"]] == ["seats", "seats[]"]
    assert reply.json["rows"] == [{"seats": "(20,20)", "several": ["(20,20)"]}]


async def test_a_new_type_under_an_old_name_is_told_apart(upstream):
    """An OID belongs to one type for ever, so what is remembered by OID never grows stale."""
    async with run_client(upstream) as client, observe(upstream) as observer:
        for labels in ("'a', 'b'", "'c'"):
            await observer.execute(f"create type passing as enum ({labels})")
            (label, *_) = labels.strip("'").split("'")
            reply = await client.query("select array[$1::passing]", label)
            await observer.execute("drop type passing")
            assert reply.json["columns"][0]["type"] == "passing[]"
            assert reply.json["rows"] == [{"array": [label]}]


async def test_a_renamed_type_keeps_its_values(upstream):
    async with run_client(upstream) as client, observe(upstream) as observer:
        await observer.execute("create type passing as enum ('a')")
        assert await client.value("select array['a'::passing]") == ["a"]
        await observer.execute("alter type passing rename to past")
        assert await client.value("select array['a'::past]") == ["a"]
        await observer.execute("drop type past")
