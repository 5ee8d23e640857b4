"""What the server takes alone, and what may commit on its way."""

import pytest

from tests.fixtures.service import assert_nothing_left, observe
from tests.fixtures.wired import run_wired

pytestmark = pytest.mark.matrix

ALONE = {
    "vacuum": "vacuum notes",
    "index": "create index concurrently notes_n on notes (n)",
    "database": "create database alone",
}
OPTIONS = {
    "settings": {"settings": {"app.x": "1"}},
    "role": {"role": "clerk"},
    "isolation": {"isolation": "serializable"},
    "read_only": {"read_only": True},
    "dry_run": {"dry_run": True},
}
PROTECTIONS = {name: options for name, options in OPTIONS.items() if name != "settings"}
COMMITS = "do $$ begin insert into notes (id) values (7); commit; {then}; end $$"


@pytest.fixture(scope="module", autouse=True)
async def stay(upstream, notes):
    async with observe(upstream) as admin:
        await admin.execute("create procedure stay() language plpgsql as $$ begin end $$")
        yield
        await admin.execute("drop procedure stay")
        await admin.execute("drop database if exists alone")


@pytest.fixture(scope="module")
async def service(upstream):
    """As superuser, who may create a database; with a setting for every statement."""
    session = {"allowed_roles": ["clerk"], "settings": {"app.x": "1"}}
    async with run_wired(upstream, "postgres", session=session) as wired:
        yield wired


@pytest.fixture
def client(wired):
    return wired.client


@pytest.fixture
async def plain(upstream):
    """Without settings: Postgres 18 lets nothing commit behind those that a flight brings."""
    async with run_wired(upstream) as wired:
        yield wired
        await assert_nothing_left(wired.client, upstream)


@pytest.fixture
async def admin(upstream):
    async with observe(upstream) as admin:
        yield admin


@pytest.mark.parametrize("sql", ALONE.values(), ids=ALONE)
async def test_what_must_be_alone_travels_bare(wired, admin, sql):
    for leftover in ("index if exists notes_n", "database if exists alone"):
        await admin.execute(f"drop {leftover}")
    reply, flights = await wired.fly(sql)
    assert reply.status == 200, reply.json
    assert flights == ["PBDES"]


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
async def test_what_must_be_alone_takes_no_option(wired, options):
    reply, flights = await wired.fly(ALONE["vacuum"], **options)
    assert (reply.status, reply.json["title"]) == (409, "needs_bare_flight")
    assert "send it without them" in reply.json["detail"]
    assert flights == []


@pytest.mark.parametrize("options", PROTECTIONS.values(), ids=PROTECTIONS)
@pytest.mark.parametrize("sql", ["call stay()", "do $$ begin commit; end $$"])
async def test_what_could_leave_its_protection_is_refused(wired, sql, options):
    reply, flights = await wired.fly(sql, **options)
    assert (reply.status, reply.json["title"]) == (403, "statement_not_allowed")
    assert flights == []


@pytest.mark.parametrize("sql", ["call stay()", "do $$ begin perform 1; end $$"])
@pytest.mark.parametrize("options", [{}, OPTIONS["settings"]], ids=["bare", "settings"])
async def test_call_and_do_run_without_protection(client, sql, options):
    assert (await client.query(sql, **options)).status == 200


@pytest.mark.parametrize(
    ("then", "limits", "title"),
    [
        ("raise 'no'", {}, "raise_exception"),
        ("perform pg_sleep(30)", {"timeout_ms": 300}, "deadline_exceeded"),
    ],
    ids=["fails", "takes too long"],
)
async def test_what_may_have_committed_before_it_failed_says_so(plain, admin, then, limits, title):
    await admin.execute("delete from notes where id = 7")
    reply = await plain.client.query(COMMITS.format(then=then), **limits)
    assert reply.json["title"] == title
    assert reply.json["executed"] == "unknown"
    assert await admin.fetchval("select count(*) from notes where id = 7") == 1
