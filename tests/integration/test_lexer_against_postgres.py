"""Postgres splits SQL where our lexer does: its own errors and answers say so."""

import re
from collections.abc import AsyncIterator

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dev.postgres import EmbeddedPostgres
from proxy.sql.lexer import Kind, tokenize
from proxy.sql.named import rewrite_named
from tests.fixtures.soup import ANY_CHARACTER, SOUP

ERROR = re.compile(r'(?:syntax error|unterminated [^"]*) at or near "(?P<near>.*)"', re.DOTALL)
TEXT = st.text(ANY_CHARACTER | st.sampled_from("'\"\\$:/*-,;\n"))
NAME = TEXT.filter(lambda text: 0 < len(text.encode()) < 64)  # the server cuts longer ones
TAG = st.sampled_from(["$$", "$a$", "$b_1$", "$é$"])


def escape(value):
    return "E'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def quote(value):
    return "'" + value.replace("'", "''") + "'"


def quote_unicode(value):
    return "U&" + quote(value.replace("\\", "\\\\"))


def quote_in_two_lines(value):
    return quote(value) + " -- 'c' :c\n '' "


@st.composite
def literals(draw):
    """Draw a text and one way to write it in SQL."""
    value = draw(TEXT)
    tag = draw(TAG)
    if tag not in value + tag[:-1] and draw(st.booleans()):
        return value, f"{tag}{value}{tag}"
    forms = [quote, escape, quote_unicode, quote_in_two_lines]
    return value, draw(st.sampled_from(forms))(value)


def comment(inner):
    """Nest comments, and write in them what would be a token elsewhere."""
    return st.lists(inner | st.sampled_from(["'", '"', "$$", ":a", "--", ";", "\n"])).map(
        lambda parts: f"/*{' '.join(parts)}*/"
    )


BLANK = st.recursive(st.sampled_from([" ", "\n\t", "--';:a\n"]), comment, max_leaves=5)


@pytest.fixture(scope="module")
async def connection(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres.dsn, statement_cache_size=0)
    yield connection
    await connection.close()


async def find_error(connection, sql):
    """What Postgres quotes in its syntax error, and where that stands; None without an error."""
    try:
        await connection.prepare(sql)
    except asyncpg.PostgresError as error:
        found = ERROR.match(str(error))
        return (found["near"], int(error.position) - 1) if found else None
    return None


@settings(deadline=None, max_examples=500)
@given(soup=SOUP)
async def test_postgres_complains_of_one_of_our_tokens(connection, soup):
    """Its own lexer has split `near` off from what stands around it."""
    sql = f"select {soup}"
    error = await find_error(connection, sql)
    if error is None:
        return
    near, start = error
    token = next((token for token in tokenize(sql) if token.start <= start < token.end), None)
    if token is None:
        assert near.startswith("/*")  # not terminated
    elif token.kind is not Kind.OPERATOR and token.text[:2] not in {"n'", "N'"}:  # it splits these
        assert (near, start) == (token.text, token.start)


@settings(deadline=None, max_examples=150)
@given(written=st.lists(literals(), min_size=1), blanks=st.data())
async def test_literals_end_where_postgres_ends_them(connection, written, blanks):
    values = [value for value, _ in written]
    texts = [text for _, text in written]
    sql = "select " + ",".join(f"{blanks.draw(BLANK)} {text}{blanks.draw(BLANK)}" for text in texts)
    commas = [token.start for token in tokenize(sql) if token.text == ","]
    assert len(commas) == len(texts) - 1
    assert list(await connection.fetchrow(sql)) == values


@settings(deadline=None, max_examples=150)
@given(names=st.lists(NAME, min_size=1))
async def test_quoted_names_end_where_postgres_ends_them(connection, names):
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    sql = "select " + ",".join(f"1{name}" for name in quoted)
    statement = await connection.prepare(sql)
    assert [column.name for column in statement.get_attributes()] == names
    assert [token.text for token in tokenize(sql) if token.kind is Kind.QUOTED] == quoted


@settings(deadline=None, max_examples=150)
@given(written=st.lists(literals(), min_size=1), blanks=st.data())
async def test_comments_and_blanks_are_nothing_to_both(connection, written, blanks):
    """An unexpected token would be an error of the server's, or change an answer."""
    texts = [text for _, text in written]
    plain = "select " + " , ".join(texts)
    blank = "".join(f" {text}{blanks.draw(BLANK)}," for text in texts)
    sql = f"select{blanks.draw(BLANK)}{blank[:-1]}"
    assert [token.text for token in tokenize(sql)] == [token.text for token in tokenize(plain)]
    assert await connection.fetchrow(sql) == await connection.fetchrow(plain)


@settings(deadline=None, max_examples=150)
@given(written=st.lists(literals(), min_size=1), parameters=st.lists(TEXT), blanks=st.data())
async def test_named_parameters_arrive_in_their_places(connection, written, parameters, blanks):
    """Between literals and comments full of `:name`, which stay as they are."""
    items = [text for _, text in written] + [f":p{i}::text" for i in range(len(parameters))]
    blank = blanks.draw(BLANK)
    rewritten = rewrite_named(f"select {','.join(f'{blank}{item}' for item in items)}")
    answer = await connection.fetchrow(rewritten.sql, *parameters)
    assert list(answer) == [value for value, _ in written] + parameters


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("a[1:n]", [5, 6]),
        ("a[:n]", [5, 6]),
        ("a[f.n:3]", [6, 7]),
        ("a[1 :n]", [5, 6]),
        ("a[n :n]", [6]),
        ("a[1:(:n)]", [5]),
        ("a[1 : :n]", [5]),
        ("a[(:n) : :n]", [5]),
        ("a[(:n)]", 5),
        ("(array[5, 6])[n:]", [6]),
        ("array[:n,:n]", [1, 1]),
        ("array[[:n], [:n]]", [[1], [1]]),
        ("array [ :n ]::int[]", [1]),
        ("json_object('k':n)::text", '{"k" : 2}'),
        ("json_object('k': :n)::text", '{"k" : 1}'),
        ("make_interval(days := n)::text", "2 days"),
        ("make_interval(days => :n)::text", "1 day"),
        ("f.n::numeric::text", "2"),
    ],
)
async def test_colons_of_the_language_stay_with_it(connection, expression, value):
    """The parameter is 1 and the column of the same name is 2, so the value tells them apart."""
    sql = f"select {expression} from (values (array[5, 6, 7], 2, :n::int)) f(a, n)"
    rewritten = rewrite_named(sql)
    assert await connection.fetchval(rewritten.sql, 1) == value


@pytest.mark.parametrize(
    ("sql", "wrong"),
    [
        ("select 'a' /* é😀 */, :a + nope", "nope"),
        ("select 'é', :long_name, :b :b", ":b"),
        ("select :a + ", ""),
    ],
)
async def test_an_error_is_found_again_in_the_sql_as_sent(connection, sql, wrong):
    rewritten = rewrite_named(sql)
    with pytest.raises(asyncpg.PostgresError) as caught:
        await connection.prepare(rewritten.sql)
    assert sql[rewritten.position(int(caught.value.position)) - 1 :] == wrong
