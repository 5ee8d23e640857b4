"""Built-in types by OID and by name."""

import pytest

from proxy.sql.types import BUILTIN, TYPE_NAMES, SqlType, type_by_name


def test_every_type_is_found_by_its_own_name():
    quoted = {"char": '"char"', "char[]": '"char"[]'}  # plain char means bpchar in SQL
    assert all(type_by_name(quoted.get(t.name, t.name)) is t for t in BUILTIN.values())


def test_an_array_knows_its_element():
    assert BUILTIN[1007] == SqlType(1007, "int4[]", BUILTIN[23])


def test_boxes_are_delimited_by_semicolons():
    assert {t.name for t in BUILTIN.values() if t.delimiter != ","} == {"box", "box[]"}


@pytest.mark.parametrize(
    ("name", "oid"),
    [
        ("int", 23),
        ("INTEGER", 23),
        ("bigint", 20),
        ("smallint", 21),
        ("real", 700),
        ("double precision", 701),
        ("float", 701),
        ("decimal", 1700),
        ("boolean", 16),
        ("character varying", 1043),
        ("char", 1042),
        ("character", 1042),
        ('"char"', 18),
        ("  Timestamp  with\ttime zone ", 1184),
        ("timestamp without time zone", 1114),
        ("time with time zone", 1266),
        ("int[]", 1007),
        ("text [ ]", 1009),
        ("bigint[][]", 1016),
        ("timestamp with time zone[]", 1185),
    ],
)
def test_sql_spellings_are_understood(name, oid):
    assert type_by_name(name) is BUILTIN[oid]


@pytest.mark.parametrize("name", ["", "mood", "int[", "int]", "[]", "int[3]", "void[]", "[]int"])
def test_other_names_are_unknown(name):
    assert type_by_name(name) is None


def test_very_long_names_are_refused_in_linear_time():
    assert type_by_name("mood" + "[]" * 1_000_000) is None


def test_type_names_hold_aliases_and_arrays():
    assert {"bigint", "int8", "int8[]"} <= set(TYPE_NAMES)
