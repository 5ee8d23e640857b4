"""Protocol messages, byte by byte as PostgreSQL's documentation has them."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.messages import (
    DESCRIBE,
    EXECUTE_ALL,
    SSL_REQUEST,
    SYNC,
    Field,
    ServerMessage,
    build_bind,
    build_cancel,
    build_copy_fail,
    build_execute,
    build_parse,
    build_query,
    parse_row_description,
    parse_server_message,
    parse_tag,
)
from tests.fixtures.backend_message import fields_message

HEADER = 5
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))
OID = st.integers(0, 2**32 - 1)
INT2 = st.integers(-(2**15), 2**15 - 1)
FIELD = st.builds(Field, TEXT, OID, INT2, OID, INT2, st.integers(-(2**31), 2**31 - 1), INT2)


def describe(fields):
    """The body of a RowDescription."""
    packed = (f.name.encode() + b"\0" + struct.pack("!IhIhih", *f[1:]) for f in fields)
    return struct.pack("!h", len(fields)) + b"".join(packed)


def length_of(built):
    return struct.unpack_from("!i", built, 1)[0]


@pytest.mark.parametrize(
    ("built", "expected"),
    [
        (build_parse(b"select 1"), b"P\0\0\0\x10\0select 1\0\0\0"),
        (build_parse(b"", [23, 4294967295]), b"P\0\0\0\x10\0\0\0\x02\0\0\0\x17\xff\xff\xff\xff"),
        (build_bind([]), b"B\0\0\0\x0c\0\0\0\0\0\0\0\0"),
        (
            build_bind([b"ab", None, b""]),
            b"B\0\0\0\x1a\0\0\0\0\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0\0\0",
        ),
        (build_execute(), b"E\0\0\0\x09\0\0\0\0\0"),
        (build_execute(11), b"E\0\0\0\x09\0\0\0\0\x0b"),
        (EXECUTE_ALL, build_execute(0)),
        (DESCRIBE, b"D\0\0\0\x06P\0"),
        (SYNC, b"S\0\0\0\x04"),
        (build_query(b"show pools"), b"Q\0\0\0\x0fshow pools\0"),
        (build_copy_fail(b"no"), b"f\0\0\0\x07no\0"),
        (build_cancel(258, -1), b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\x01\x02\xff\xff\xff\xff"),
        (SSL_REQUEST, b"\0\0\0\x08\x04\xd2\x16\x2f"),
    ],
)
def test_messages_are_built_as_documented(built, expected):
    assert built == expected


@given(st.binary(), st.lists(OID, max_size=5))
def test_parse_names_its_own_length(sql, oids):
    assert length_of(build_parse(sql, oids)) == len(build_parse(sql, oids)) - 1


@given(st.lists(st.none() | st.binary(), max_size=8))
def test_bound_values_can_be_read_back(values):
    built = build_bind(values)
    position, found = HEADER + 6, []
    for _ in range(struct.unpack_from("!H", built, HEADER + 4)[0]):
        (length,) = struct.unpack_from("!i", built, position)
        position += 4 + max(length, 0)
        found.append(None if length < 0 else built[position - length : position])
    assert found == values
    assert built[position:] == b"\0\0"
    assert length_of(built) == len(built) - 1


def test_bind_takes_as_many_values_as_the_protocol_has_room_for():
    assert struct.unpack_from("!H", build_bind([None] * 65535), HEADER + 4) == (65535,)


@given(st.lists(FIELD, max_size=8))
def test_row_description_comes_back_as_the_fields_it_was_made_of(fields):
    assert parse_row_description(describe(fields)) == tuple(fields)


def test_every_field_of_an_error_has_its_place():
    body = fields_message(
        "E",
        S="FEHLER",
        V="ERROR",
        C="23505",
        M="message",
        D="detail",
        H="hint",
        P="15",
        s="public",
        t="users",
        c="id",
        d="int4",
        n="users_pkey",
        W="where",
        F="a.c",  # file, line and routine are the server's business, q a newer server's
        q="?",
    )
    assert parse_server_message(body[HEADER:]) == ServerMessage(
        *("ERROR", "23505", "message", "detail", "hint", 15, "public", "users", "id", "int4"),
        *("users_pkey", "where"),
    )


def test_untranslated_severity_is_preferred_where_there_is_one():
    assert parse_server_message(b"SFATAL\0C08P01\0Mno\0\0").severity == "FATAL"


@pytest.mark.parametrize("position", ["", "x", "-1", "1e3"])
def test_position_that_is_no_number_is_left_out(position):
    assert parse_server_message(f"P{position}\0\0".encode()).position is None


def test_no_error_is_too_garbled_to_be_told():
    assert parse_server_message(b"Mno\xff\0\xff\0P").message == "no\ufffd"


def test_empty_error_is_an_internal_one():
    assert parse_server_message(b"\0") == ServerMessage("ERROR", "XX000", "")


@pytest.mark.parametrize(
    ("severity", "is_fatal"),
    [("FATAL", True), ("PANIC", True), ("ERROR", False), ("WARNING", False)],
)
def test_only_fatal_and_panic_end_the_connection(severity, is_fatal):
    assert ServerMessage(severity, "57P01", "").is_fatal is is_fatal


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (b"SELECT 5\0", ("SELECT", 5)),
        (b"INSERT 0 2\0", ("INSERT", 2)),
        (b"INSERT 16400 1\0", ("INSERT", 1)),
        (b"UPDATE 0\0", ("UPDATE", 0)),
        (b"COPY 3\0", ("COPY", 3)),
        (b"CREATE TABLE\0", ("CREATE TABLE", None)),
        (b"CREATE TABLE AS\0", ("CREATE TABLE AS", None)),
        (b"BEGIN\0", ("BEGIN", None)),
        (b"\0", ("", None)),
    ],
)
def test_tag_is_split_into_command_and_row_count(tag, expected):
    assert parse_tag(tag) == expected
