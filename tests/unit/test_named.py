"""Named parameters; tests/integration/test_lexer_against_postgres.py asks the server."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.sql.lexer import Kind, tokenize
from proxy.sql.named import CACHED_CHARACTERS, rewrite_named
from tests.fixtures.soup import SOUP

NAMES = st.sampled_from(["a", "b", "é", "name_2", "A", "select", "a$1"])


@pytest.mark.parametrize(
    ("sql", "rewritten", "names"),
    [
        ("select :a", "select $1", ("a",)),
        ("select :a, :b, :a", "select $1, $2, $1", ("a", "b")),
        ("select :a, :A", "select $1, $2", ("a", "A")),
        ("where id=:größe_1;", "where id=$1;", ("größe_1",)),
        ("in (:a,:b)", "in ($1,$2)", ("a", "b")),
        ("select/**/:a", "select/**/$1", ("a",)),
        ("select :a::int", "select $1::int", ("a",)),
        ("select 1", "select 1", ()),
        ("", "", ()),
    ],
)
def test_names_become_numbers_in_order_of_first_appearance(sql, rewritten, names):
    result = rewrite_named(sql)
    assert (result.sql, result.names) == (rewritten, names)


@pytest.mark.parametrize(
    "sql",
    [
        "1::int",
        "f(a := b)",
        "f(a :=b)",
        "a[1:n]",
        "a[:n]",
        "a[b :n]",
        "a[f(x):n]",
        "a[(i)][1:n]",
        '"a"[:n]',
        "json_object('a':b, k:v, \"q\":w, $$d$$:x, $1:y)",
        "': a' ':a'",
        "E'\\':a'",
        "$$ :a $$",
        '":a"',
        "-- :a\n/* :a /* */ :a */",
        ": a",
        ":1",
        ":'a'",
        "$:a",
        "a ::b",
        ")) [:n]",
    ],
)
def test_a_colon_of_the_language_is_not_a_parameter(sql):
    assert rewrite_named(sql).names == ()


@pytest.mark.parametrize(
    "sql",
    [
        "a[(:n)]",
        "a[1 : :n]",
        "a[f(:n)]",
        "array[:n]",
        "ARRAY [1, :n]",
        "array[[1], [:n]]",
        "array[a[1:2], :n]",
        "(a[1]) = :n",
        "]:x, :n",
    ],
)
def test_brackets_hide_no_parameter(sql):
    assert rewrite_named(sql).names == ("n",)


@pytest.mark.parametrize(
    ("sql", "mixes"),
    [("$1 = :a", True), (":a = $1", True), (":a = :b", False), ("$1 :: $2", False), ("$1", False)],
)
def test_numbers_among_names_are_noticed(sql, mixes):
    assert rewrite_named(sql).mixes is mixes


def test_numbers_in_strings_and_comments_clash_with_nothing():
    assert not rewrite_named("select :a, '$1', $$ $1 $$ -- $1").mixes


def test_the_server_may_have_backslashes_in_its_strings():
    sql = "select '\\':a', :b"
    assert rewrite_named(sql, standard_strings=False).names == ("b",)
    assert rewrite_named(sql).names == ()  # "a" follows a string, ":b" is inside of another


def test_a_position_inside_of_a_number_is_the_one_of_its_name():
    result = rewrite_named("select :long, x")
    assert result.sql == "select $1, x"
    positions = [result.position(position) for position in (1, 8, 9, 10, 12, 13)]
    assert positions == [1, 8, 8, 13, 15, 16]


def test_a_statement_that_is_too_long_to_be_remembered_is_rewritten_too():
    blanks = " " * CACHED_CHARACTERS
    assert rewrite_named(f"select{blanks}:a").sql == f"select{blanks}$1"


def test_an_ordinary_statement_is_remembered():
    assert rewrite_named("select :remembered") is rewrite_named("select :remembered")


@given(parts=st.lists(st.tuples(SOUP.filter(lambda text: ":" not in text), NAMES)))
def test_every_position_maps_back(parts):
    """Whatever became a number; the rest keeps its character."""
    sql = "".join(f"{text} :{name}" for text, name in parts)
    result = rewrite_named(sql)
    for token in tokenize(result.sql):
        origin = result.position(token.start + 1) - 1
        if token.kind is Kind.PARAMETER and sql[origin] == ":":
            assert sql[origin + 1 :].startswith(result.names[int(token.text[1:]) - 1])
        else:
            assert sql[origin : origin + len(token.text)] == token.text
    assert result.position(len(result.sql) + 1) == len(sql) + 1


@given(sql=SOUP)
def test_only_names_change(sql):
    """Put back, the names give the SQL as sent; and the server sees one token for each."""
    result = rewrite_named(sql)
    if not result.names or result.mixes:
        return
    before = [token.text for token in tokenize(sql)]
    after = [
        text
        for token in tokenize(result.sql)
        for text in (
            (":", result.names[int(token.text[1:]) - 1])
            if token.kind is Kind.PARAMETER
            else (token.text,)
        )
    ]
    assert after == before
