"""What the words of a statement say."""

from time import perf_counter

import pytest
from hypothesis import given

from proxy.sql.lexer import Kind, tokenize
from proxy.sql.statement import (
    CACHED_CHARACTERS,
    LOOKED_AT_TOKENS,
    Statement,
    describe_statement,
)
from tests.fixtures.soup import SOUP

MIB = 1024 * 1024


def without_semicolons(sql):
    return (token for token in tokenize(sql) if token.kind is not Kind.SEMICOLON)


@pytest.mark.parametrize(
    ("sql", "keyword"),
    [
        ("select 1", "select"),
        ("  SELECT 1", "select"),
        ("/* drop */ -- x\nInsert into t default values", "insert"),
        ("((select 1) union select 2)", "select"),
        (";;with a as (select 1) table a", "with"),
        ("$1", ""),
        ("(", ""),
        ('"select"', ""),
        ("", ""),
    ],
)
def test_the_keyword_is_the_first_word(sql, keyword):
    assert describe_statement(sql).keyword == keyword


@pytest.mark.parametrize("sql", ["", " \n", ";", " ; ; ", "-- select", "/* select 1; */ ;"])
def test_blanks_comments_and_semicolons_are_no_statement(sql):
    assert describe_statement(sql) == Statement("", is_empty=True)


@pytest.mark.parametrize("sql", ["select 1", "(", "'", "$1", "/**/x"])
def test_anything_else_is_one(sql):
    assert not describe_statement(sql).is_empty


@pytest.mark.parametrize(
    "sql",
    [
        "select 1;",
        "select 1;; -- done",
        "; select 1 ;;/* ; */;",
        "select ';' || E'\\';' || $$;$$ || \";\"",
        "create rule r as on insert to t do also (insert into a select 1; insert into b select 2)",
        "create function f() returns int begin atomic select; select case 1 when 1 then 2 end; end",
        "create or replace procedure p() begin atomic insert into t values (1); end; -- x",
        "do $$ begin perform 1; perform 2; end $$;",
        "select (1;2)",  # an error, but not ours to say
        "begin;",
    ],
)
def test_one_statement_is_single(sql):
    assert describe_statement(sql).is_single


@pytest.mark.parametrize(
    "sql",
    [
        "select 1; select 2",
        ";select 1;;select 2;",
        "select 1);select 2",
        "select 1;$1",
        "begin; select 1; end",
        "select 1/* ; */;/**/--\n(select 2)",
        "create function f() returns int begin atomic select 1; end; select 2",
        "create table begin (); select 2",
    ],
)
def test_two_statements_are_not_single(sql):
    assert not describe_statement(sql).is_single


SESSION = {
    "set work_mem = '1MB'": "`settings`",
    "SET SESSION work_mem TO DEFAULT": "`settings`",
    "set time zone 'UTC'": "`settings`",
    "set session time zone 'UTC'": "`settings`",
    "set role app": "`role`",
    "set session role none": "`role`",
    "set session authorization app": "`role`",
    "set session session authorization default": "`role`",
    "set session characteristics as transaction read only": "`read_only`",
    "reset all": "leave it out",
    "reset role": "leave it out",
    "discard all": "leave it out",
    "load 'plpgsql'": "session_preload_libraries",
    "listen a": "GET /v1/listen",
    "unlisten *": "GET /v1/listen",
    "prepare a as select 1": "`params`",
    "execute a(1)": "`params`",
    "deallocate all": "`params`",
    "declare c no scroll cursor with hold for select 1": "all rows at once",
    "create temp table t (a int)": "WITH query",
    "create local temporary table t as select 1 a": "WITH query",
    "create or replace temp view v as select 1": "WITH query",
    "create temporary recursive view v(a) as select 1": "WITH query",
    "create temp sequence s": "WITH query",
    "create temp table t (a int) on commit delete rows": "WITH query",
    "create table pg_temp.t (a int)": "WITH query",
    'select * from "pg_temp_3" . t': "WITH query",
    "select 1 a into temp t": "WITH query",
    "with a as (select 1) select * into local temporary table t from a": "WITH query",
    "select pg_advisory_lock(1)": "pg_advisory_xact_lock",
    "select 1 where pg_try_advisory_lock_shared (1, 2)": "pg_advisory_xact_lock",
    "select PG_CATALOG.pg_advisory_unlock/**/(1)": "pg_advisory_xact_lock",
    'select "pg_catalog"."pg_advisory_unlock_all"()': "pg_advisory_xact_lock",
    "insert into t values (lastval())": "RETURNING",
    "select currval('s')": "RETURNING",
    "select set_config('a.b', 'c', false)": "`settings`",
    "select set_config('a.b', upper('c'), FALSE), 2": "`settings`",
}


@pytest.mark.parametrize(("sql", "remedy"), SESSION.items())
def test_what_is_bound_to_a_session_says_its_remedy(sql, remedy):
    statement = describe_statement(sql)
    assert statement.bound_to_transaction is None
    assert statement.bound_to_session is not None
    assert remedy in statement.bound_to_session


TRANSACTION = {
    "declare c cursor for select 1": "the query itself",
    "declare c cursor without hold for select 1": "the query itself",
    "fetch 10 from c": "the query itself",
    "move c": "the query itself",
    "close all": "the query itself",
    "create temp table t (a int) on commit drop": "WITH query",
    "create local temporary table t on commit drop as select 1 a": "WITH query",
}


@pytest.mark.parametrize(("sql", "remedy"), TRANSACTION.items())
def test_what_is_bound_to_a_transaction_says_its_remedy(sql, remedy):
    statement = describe_statement(sql)
    assert statement.bound_to_session is None
    assert statement.bound_to_transaction is not None
    assert remedy in statement.bound_to_transaction


@pytest.mark.parametrize(
    "sql",
    [
        "set local work_mem = '1MB'",
        "set constraints all deferred",
        "prepare transaction 'a'",
        "create table temp (a int)",
        "create table t (temp int, on_commit int)",
        "insert into temp values (1)",
        "insert into temp select 1; -- into temp",
        "merge into temp using a on true when matched then do nothing",
        "select 1 a into temp from t",
        "select lastval, currval as x from pg_advisory_lock, temp",
        "select 'lastval()', $$ lastval() $$ -- lastval()",
        "select app.lastval(), app.pg_advisory_lock(1)",
        "select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(1)",
        "select set_config('a.b', 'c', true), coalesce(null, false)",
        "select set_config('a.b', 'c', $1)",
        "select nextval('s')",
        "select pg_temp from t",
        'select "into temp x"',
        "notify a",
        "show work_mem",
        "do $$ begin set work_mem = '1MB'; end $$",
    ],
)
def test_what_leaves_nothing_behind_is_bound_to_nothing(sql):
    statement = describe_statement(sql)
    assert (statement.bound_to_session, statement.bound_to_transaction) == (None, None)


@pytest.mark.parametrize(
    "sql",
    [
        "begin",
        "BEGIN isolation level serializable",
        "start transaction read only",
        "commit;",
        "end",
        "rollback to savepoint a",
        "abort",
        "savepoint a",
        "release a",
        "prepare transaction 'a'",
        "set transaction read only",
        "set session transaction isolation level serializable",
        "set local transaction read write",
        "commit and chain",
    ],
)
def test_words_of_a_transaction_are_known(sql):
    assert describe_statement(sql).transaction_word


@pytest.mark.parametrize(
    "sql",
    [
        "commit prepared 'a'",
        "rollback prepared 'a'",
        "set transaction_isolation = 'serializable'",
        "set session characteristics as transaction read only",
        "set constraints all immediate",
        "prepare a as select 1",
        "select begin from commit",
    ],
)
def test_other_statements_have_no_word_of_a_transaction(sql):
    assert not describe_statement(sql).transaction_word


def test_copy_is_known():
    assert describe_statement("copy t from stdin").is_copy
    assert not describe_statement("select 1 as copy").is_copy


@pytest.mark.parametrize("sql", ["call p()", "do $$ begin commit; end $$", "vacuum"])
def test_what_can_commit_inside_is_known(sql):
    assert describe_statement(sql).can_commit_inside


def test_a_query_commits_nothing_inside():
    assert not describe_statement("select 1 as do").can_commit_inside


def test_the_server_may_have_backslashes_in_its_strings():
    sql = "select '\\'; select 1 --'"
    assert describe_statement(sql, standard_strings=False).is_single
    assert not describe_statement(sql).is_single


def test_a_long_statement_is_described_too():
    padding = "-" * CACHED_CHARACTERS
    assert describe_statement(f"--{padding}\nset a.b = 1").bound_to_session is not None


def test_an_ordinary_statement_is_remembered():
    assert describe_statement("select 'remembered'") is describe_statement("select 'remembered'")


@given(soup=SOUP)
def test_any_text_is_described(soup):
    assert describe_statement(soup).is_empty is (next(without_semicolons(soup), None) is None)


@pytest.mark.parametrize("start", ["", "select ;", "create temp ", "alter table ", "reindex "])
@pytest.mark.parametrize(
    "piece", ["'", "$a$", '"', "((((", "; ", "set_config(", "into temp ", " detach partition "]
)
def test_hostile_text_is_described_at_once(start, piece):
    """A quadratic guard would take hours."""
    started = perf_counter()
    describe_statement((start + piece * MIB)[:MIB])
    assert perf_counter() - started < 2


def test_of_an_endless_statement_only_the_beginning_is_looked_at():
    numbers = "1," * LOOKED_AT_TOKENS
    assert describe_statement(f"select {numbers} lastval()").bound_to_session is None
