"""A statement's own transaction: role, isolation, read-only, dry run."""

import asyncio

import asyncpg
import pytest

from tests.fixtures.service import Client, assert_nothing_left, run_client

INSERT = "insert into rooms values ($1) returning id"


@pytest.fixture(scope="module", autouse=True)
async def objects(postgres):
    """Make a table of the application's, and a role that may read it alone."""
    admin = await asyncpg.connect(postgres.superuser_dsn)
    await admin.execute("""
        create role reader;
        grant reader to app;
        create table rooms (id int primary key);
        alter table rooms owner to app;
        grant select on rooms to reader;
    """)
    yield
    await admin.execute("drop table rooms; drop role reader")
    await admin.close()


@pytest.fixture
async def reading(upstream):
    """A service whose requests may ask for the role of the reader."""
    pool = {"size": 4, "overflow": 0}
    async with run_client(upstream, session={"allowed_roles": ["reader"]}, pool=pool) as client:
        yield client
        await assert_nothing_left(client, upstream)


@pytest.mark.parametrize("level", ["read committed", "repeatable read", "serializable"])
async def test_the_isolation_holds_for_the_statement(client: Client, level):
    sql = "select current_setting('transaction_isolation')"
    assert await client.value(sql, isolation=level) == level
    assert await client.value(sql) == "read committed"


async def test_another_isolation_is_refused(client: Client):
    reply = await client.query("select 1", isolation="chaos")
    assert reply.status == 400
    assert '"serializable"' in reply.json["detail"]


async def test_a_read_only_statement_cannot_write(client: Client):
    reply = await client.query(INSERT, 1, read_only=True)
    assert reply.status == 403
    assert reply.json["sqlstate"] == "25006"
    assert await client.value("select count(*) from rooms") == 0


async def test_a_read_only_statement_can_read(client: Client):
    sql = "select current_setting('transaction_read_only')"
    assert await client.value(sql, read_only=True) == "on"
    assert await client.value(sql) == "off"


async def test_a_dry_run_answers_and_leaves_nothing(client: Client):
    reply = await client.query(INSERT, 1, dry_run=True)
    assert reply.status == 200
    assert reply.json["rows"] == [{"id": 1}]
    assert await client.value("select count(*) from rooms") == 0


async def test_a_dry_run_over_a_limit_was_not_executed(client: Client):
    sql = "insert into rooms select generate_series(1, 5) returning id"
    reply = await client.query(sql, dry_run=True, limits={"rows": 1})
    assert reply.status == 413
    assert reply.json["executed"] == "no"


async def test_settings_hold_in_such_a_transaction(client: Client):
    sql = "select current_setting('app.tenant'), current_setting('transaction_isolation')"
    options = {"settings": {"app.tenant": "7"}, "isolation": "serializable"}
    assert await client.rows(sql, rows="arrays", **options) == [["7", "serializable"]]


async def test_an_error_in_such_a_transaction_is_rolled_back(client: Client):
    for _ in range(8):
        reply = await client.query("select 1/0", isolation="serializable")
        assert reply.json["sqlstate"] == "22012"
        assert await client.value("select 1") == 1


async def test_a_deferred_violation_at_commit_is_no_success(client: Client):
    sql = "update seats set position = position % 2 + 1 where id in (3, 4) returning id"
    reply = await client.query(sql, isolation="serializable")
    assert reply.status == 409
    assert reply.json["sqlstate"] == "23505"
    assert reply.json["phase"] == "commit"
    assert await client.value("select count(*) from seats where id = position") == 20


async def test_a_write_in_such_a_transaction_stays(client: Client):
    assert await client.value(INSERT, 7, isolation="repeatable read") == 7
    assert await client.value("delete from rooms returning id") == 7


async def test_a_role_holds_for_its_statement_alone(reading: Client):
    sql = "select current_user::text"
    wanted = [{"role": "reader"}, {}] * 20
    answers = await asyncio.gather(*(reading.value(sql, **options) for options in wanted))
    assert answers == ["reader", "app"] * 20


async def test_a_role_may_do_what_it_may(reading: Client):
    assert await reading.value("select count(*) from rooms", role="reader") == 0
    reply = await reading.query(INSERT, 1, role="reader")
    assert (reply.status, reply.json["sqlstate"]) == (403, "42501")


@pytest.mark.parametrize("role", ["postgres", "app", "", "none", "reader'"])
async def test_a_role_that_is_not_allowed_is_refused(reading: Client, role):
    reply = await reading.query("select 1", role=role)
    assert reply.status == 403
    assert reply.json["title"] == "forbidden"
    assert "session.allowed_roles" in reply.json["detail"]


async def test_a_role_of_the_configuration_holds_for_every_statement(upstream):
    async with run_client(upstream, session={"role": "reader"}) as client:
        answers = await asyncio.gather(
            *(client.value("select current_user::text") for _ in range(20))
        )
        assert answers == ["reader"] * 20


async def test_a_read_only_statement_over_a_limit_is_cancelled(client: Client):
    """It would run for minutes, so the answer comes only because of the cancel."""
    sql = "select generate_series(1, 1000000000)"
    reply = await client.query(sql, read_only=True, limits={"rows": 10}, timeout_ms=60_000)
    assert reply.status == 413
    assert reply.json["title"] == "result_too_large"
    assert reply.json["executed"] == "no"
