"""Postgres refuses in a transaction block what our guards say must be alone, and nothing else."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from proxy.dev.postgres import EmbeddedPostgres
from proxy.sql.statement import describe_statement

REFUSED_IN_A_BLOCK = "25001"
SETUP = """
    create table alone (a int primary key);
    create table parts (a int) partition by range (a);
    create table part partition of parts for values from (1) to (2);
    create procedure nothing() language sql as 'select 1';
    create publication everything for table alone;
    create subscription here connection 'dbname=postgres' publication everything, other
      with (connect = false);
    alter subscription here enable;
    create subscription idle connection 'dbname=postgres' publication everything
      with (connect = false);
"""


@pytest.fixture
async def connection(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A superuser in a transaction that never ends well."""
    connection = await asyncpg.connect(postgres.superuser_dsn, statement_cache_size=0)
    await connection.execute(f"begin; {SETUP}")
    yield connection
    await connection.execute("rollback")
    await connection.close()


async def run(connection, sql):
    """Run it as a flight does, by the extended protocol; returns the SQLSTATE of its error."""
    try:
        await connection.fetch(sql)
    except asyncpg.PostgresError as error:
        return error.sqlstate
    return None


@pytest.mark.parametrize(
    "sql",
    [
        "vacuum",
        "vacuum (analyze) alone",
        "vacuum full alone",
        "create database x",
        "drop database if exists x",
        "alter database postgres set tablespace pg_default",
        "create tablespace x location '/nowhere'",
        "drop tablespace x",
        "create index concurrently on alone (a)",
        "create unique index concurrently if not exists x on alone (a)",
        "drop index concurrently alone_pkey",
        "reindex index concurrently alone_pkey",
        "reindex (verbose) table concurrently alone",
        "reindex (concurrently) table alone",
        "reindex schema public",
        "reindex (verbose) database postgres",
        "reindex system postgres",
        "alter system set work_mem = '1MB'",
        "alter system reset all",
        "cluster",
        "cluster;",
        "cluster verbose",
        "cluster (verbose)",
        "commit prepared 'x'",
        "rollback prepared 'x'",
        "alter table parts detach partition part concurrently",
        "create subscription x connection 'dbname=postgres' publication everything",
        "drop subscription here",
        "alter subscription idle set (failover = true)",
        "alter subscription idle set (synchronous_commit = off, two_phase = false)",
        "alter subscription here refresh publication",
        "alter subscription here set publication other",
        "alter subscription here add publication third",
        "alter subscription here drop publication other with (refresh = true)",
    ],
)
async def test_postgres_refuses_in_a_block_what_must_be_alone(connection, sql):
    assert describe_statement(sql).must_be_alone
    assert await run(connection, sql) == REFUSED_IN_A_BLOCK


@pytest.mark.parametrize(
    "sql",
    [
        "analyze alone",
        "alter database postgres set work_mem = '1MB'",
        "create index concurrently_built on alone (a)",
        "drop index if exists concurrently_built",
        "reindex table alone",
        "reindex (verbose) index alone_pkey",
        "cluster alone using alone_pkey",
        "cluster verbose alone using alone_pkey",
        "alter table parts detach partition part",
        "alter table alone rename a to detach",
        "create subscription x connection 'dbname=postgres' publication p with (connect = false)",
        "alter subscription here disable",
        "alter subscription idle set (two_phase = true)",
        "alter subscription here set publication everything with (refresh = false)",
        "alter subscription here rename to there",
        "refresh materialized view if_any",
        "create table x as select 1 a",
        "truncate alone",
        "call nothing()",
        "do 'begin end'",
        "alter type mood add value 'x'",
        "select 'vacuum'",
    ],
)
async def test_postgres_takes_everything_else_in_a_block(connection, sql):
    assert not describe_statement(sql).must_be_alone
    assert await run(connection, sql) != REFUSED_IN_A_BLOCK


@pytest.mark.parametrize(
    "sql",
    [
        ";select 1",
        ";;select 1;; --",
        "create function f() returns int begin atomic select; select case 1 when 1 then 2 end; end",
        "create rule r as on insert to alone do also (notify a; notify b)",
        "select 1; -- done",
    ],
)
async def test_postgres_takes_as_one_statement_what_is_single(connection, sql):
    assert describe_statement(sql).is_single
    assert await run(connection, sql) is None


@pytest.mark.parametrize("sql", ["select 1; select 2", ";select 1;;select 2", "select 1; begin"])
async def test_postgres_refuses_several_statements(connection, sql):
    assert not describe_statement(sql).is_single
    assert await run(connection, sql) == "42601"
