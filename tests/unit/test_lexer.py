"""Tokens of SQL text; tests/integration/test_lexer_against_postgres.py asks the server."""

import re
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sql.lexer import Kind, tokenize
from tests.fixtures.soup import SOUP

BLANK_OR_COMMENT = re.compile(r"(?:[ \t\n\r\f\v]|--[^\n\r]*|/\*.*)*", re.DOTALL)
MIB = 1024 * 1024


def kinds(sql, *, standard_strings=True):
    return [
        (token.kind.name.lower(), token.text)
        for token in tokenize(sql, standard_strings=standard_strings)
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("select", "word"),
        ("_a$1", "word"),
        ("größe", "word"),
        ("\u00a0", "word"),  # every byte above 127 belongs to an identifier
        ('"a ""b"" --"', "quoted"),
        ('U&"d\\0061t"', "quoted"),
        ('""', "quoted"),
        ("'a ''b'' /*'", "string"),
        ("'a\\'", "string"),
        ("E'a\\'b'", "string"),
        ("e'a''b\\\\'", "string"),
        ("B'01'", "string"),
        ("x'1F'", "string"),
        ("N'a''b'", "string"),
        ("u&'a\\'", "string"),
        ("$$a'b$c$$", "dollar"),
        ("$a$ $b$ $$ $a$", "dollar"),
        ("$é1$;$é1$", "dollar"),
        ("42", "number"),
        ("1.", "number"),
        (".5", "number"),
        ("1.5e-10", "number"),
        ("1e5", "number"),
        ("0x1F", "number"),
        ("0o17", "number"),
        ("0b1_0", "number"),
        ("1_000.000_1", "number"),
        ("$12", "parameter"),
        ("->>", "operator"),
        ("@>", "operator"),
        ("=>", "operator"),
        ("=-", "operator"),
        ("::", "punctuation"),
        (":=", "punctuation"),
        ("..", "punctuation"),
        (":", "punctuation"),
        ("[", "punctuation"),
        (";", "semicolon"),
        ("\\", "other"),
        ("$", "other"),
    ],
)
def test_a_token_is_one_token_of_its_kind(text, kind):
    assert kinds(text) == [(kind, text)]


@pytest.mark.parametrize(
    ("sql", "texts"),
    [
        ("a.b", ["a", ".", "b"]),
        ("1..2", ["1", "..", "2"]),
        ("1.e", ["1.", "e"]),
        ("1e", ["1", "e"]),
        ("$1::int", ["$1", "::", "int"]),
        ("xe'a'", ["xe", "'a'"]),
        ("a$$b$$", ["a$$b$$"]),
        ("$a b$a$", ["$", "a", "b$a$"]),
        ("$1$2", ["$1", "$2"]),
        ("+--x\n-", ["+", "-"]),
        ("*/*c*//", ["*", "/"]),
        ("'a''b'", ["'a''b'"]),
        ("b'0''1'", ["b'0'", "'1'"]),
        ("'a' 'b'", ["'a'", "'b'"]),
        ("(1,a)", ["(", "1", ",", "a", ")"]),
    ],
)
def test_neighbours_are_split_where_the_server_splits_them(sql, texts):
    assert [token.text for token in tokenize(sql)] == texts


@pytest.mark.parametrize("prefix", ["", "E", "x", "N", "U&"])
@pytest.mark.parametrize("gap", ["\n", "\r\n ", " --c\n", "\n --c\n --d\n\t"])
def test_a_string_goes_on_behind_a_line_break(prefix, gap):
    sql = f"{prefix}'a'{gap}'b'"
    assert kinds(sql) == [("string", sql)]


def test_a_string_goes_on_with_the_escapes_that_it_began_with():
    sql = "E'a'\n'\\'b' c"
    assert [token.text for token in tokenize(sql)] == ["E'a'\n'\\'b'", "c"]


@pytest.mark.parametrize("gap", [" ", "/*\n*/", "\n/**/", "\n--c"])
def test_a_string_ends_at_anything_else(gap):
    assert next(tokenize(f"'a'{gap}'b'")).text == "'a'"


@pytest.mark.parametrize(
    "comment", ["/**/", "/***/", "/*/**/*/", "/* /* ' */ */", "/*/ */", "--'", "--/*", "/*--*/"]
)
def test_comments_are_passed_over(comment):
    assert [token.text for token in tokenize(f"a{comment}\nb")] == ["a", "b"]


@pytest.mark.parametrize("start", ["'", "E'\\'", 'U&"', "$a$", "$$ $a$", "x'", "E'\\"])
def test_what_is_not_terminated_reaches_to_the_end(start):
    sql = f"select {start}; --\n/**/"
    assert [token.text for token in tokenize(sql)] == ["select", sql[7:]]


def test_a_backslash_at_the_very_end_belongs_to_its_string():
    assert kinds("E'a\\") == [("string", "E'a\\")]


def test_a_comment_that_is_not_terminated_reaches_to_the_end():
    assert [token.text for token in tokenize("a /* /* */ b")] == ["a"]


@pytest.mark.parametrize("prefix", ["", "N"])
def test_strings_have_backslashes_where_standard_strings_are_off(prefix):
    sql = f"{prefix}'a\\'b' c"
    assert kinds(sql, standard_strings=False) == [("string", sql[:-2]), ("word", "c")]


def test_binary_strings_have_no_backslashes_even_then():
    assert kinds("x'\\' c", standard_strings=False) == [("string", "x'\\'"), ("word", "c")]


@given(sql=SOUP, standard_strings=st.booleans())
def test_the_tokens_and_what_lies_between_are_the_text(sql, standard_strings):
    end = 0
    for token in tokenize(sql, standard_strings=standard_strings):
        assert sql[token.start : token.end] == token.text != ""
        assert BLANK_OR_COMMENT.fullmatch(sql[end : token.start])
        end = token.end
    assert BLANK_OR_COMMENT.fullmatch(sql[end:])


@given(sql=SOUP)
def test_a_token_stays_the_same_without_what_stands_before_it(sql):
    for token in tokenize(sql):
        first = next(tokenize(sql[token.start :]))
        assert (first.kind, first.text) == (token.kind, token.text)


@pytest.mark.parametrize(
    "piece",
    ["'", "''\n", "'\n", "E'\\", '"', "$a$", "$a$$b$", "$a", "/*", "/**/", "*/", "--\n", "+", "1e"],
)
def test_hostile_text_takes_linear_time(piece):
    """A quadratic lexer would take hours."""
    sql = (piece * MIB)[:MIB]
    started = perf_counter()
    assert sum(len(token.text) for token in tokenize(sql)) <= MIB
    assert perf_counter() - started < 10


def test_every_kind_has_a_group_of_its_name():
    sql = "a \"b\" 'c' $$d$$ 1 $1 + , ; {"
    assert {token.kind for token in tokenize(sql)} == set(Kind)
