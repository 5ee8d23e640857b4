"""What options cost on the wire, and how their failures look."""

import pytest

from tests.fixtures.service import can_reset_read_only
from tests.fixtures.wired import run_wired

pytestmark = pytest.mark.matrix

P = "PBE"  # a prefix: no Describe, since it has no rows
U = "PBDE"  # the statement
SETTINGS = {"settings": {"app.x": "1"}}
ROLE = {"role": "clerk"}
ISOLATION = {"isolation": "serializable"}
READ_ONLY = {"read_only": True}
ALL = {**SETTINGS, **ROLE, **ISOLATION, **READ_ONLY}
PREFIXES = [(SETTINGS, 1), (ROLE, 1), (ISOLATION, 1), (READ_ONLY, 1), (ALL, 2)]
BLOCKS = [ISOLATION, READ_ONLY, ALL]
LATE = "update seats set position = position % 2 + 1 where id in (3, 4) returning id"


@pytest.fixture(scope="module")
async def service(upstream, notes):
    async with run_wired(upstream, session={"allowed_roles": ["clerk", "nobody"]}) as wired:
        yield wired


@pytest.fixture
def client(wired):
    return wired.client


@pytest.fixture
def has_blocks(upstream):
    return upstream.pool_mode != "statement"


@pytest.mark.parametrize(("options", "prefixes"), PREFIXES)
async def test_options_travel_with_their_statement(wired, upstream, has_blocks, options, prefixes):
    reply, flights = await wired.fly("select 1", **options)
    assert reply.status == 200
    proof = P if options.get("read_only") and await can_reset_read_only(upstream) else ""
    commit = P if has_blocks and options in BLOCKS else ""
    assert flights == [P * prefixes + U + proof + commit + "S"]


async def test_a_dry_run_is_one_flight(wired, has_blocks):
    _, flights = await wired.fly("select 1", dry_run=True)
    assert flights == ([P + U + P + "S"] if has_blocks else [])


@pytest.mark.parametrize("options", [SETTINGS, ROLE])
async def test_a_failure_outside_of_a_block_costs_nothing(wired, options):
    _, flights = await wired.fly("select 1/0", **options)
    assert len(flights) == 1


@pytest.mark.parametrize("options", BLOCKS)
async def test_a_failure_in_a_block_costs_its_rollback(wired, has_blocks, options):
    mark = wired.wire.mark()
    assert (await wired.client.query("select 1/0", **options)).json["sqlstate"] == "22012"
    await wired.client.value("select 1")
    first, *rest = wired.wire.flights(mark)
    assert first.startswith(P)
    assert rest == (["Q", U + "S"] if has_blocks else [U + "S"])


@pytest.mark.parametrize("options", BLOCKS)
async def test_prefixes_have_no_notices(client, options):
    reply = await client.query("select 1", **options)
    assert reply.json["notices"] == []


async def test_the_statements_own_notices_stay(client):
    reply = await client.query("drop table if exists missing", **ISOLATION)
    assert [notice["sqlstate"] for notice in reply.json["notices"]] == ["00000"]


@pytest.mark.parametrize(
    ("options", "sqlstate"),
    [({"settings": {"TimeZone": "Mars/Phobos"}}, "22023"), ({"role": "nobody"}, "22023")],
)
@pytest.mark.parametrize("block", [{}, ISOLATION])
async def test_an_error_in_a_prefix_is_that_of_the_settings(client, options, sqlstate, block):
    reply = await client.query("select nope", **options, **block)
    assert (reply.status, reply.json["sqlstate"]) == (400, sqlstate)
    assert reply.json["detail"].startswith("settings: ")
    assert (reply.json["position"], reply.json["executed"]) == (None, "no")


@pytest.mark.parametrize("options", [SETTINGS, *BLOCKS[:1]])
async def test_an_error_of_the_statement_keeps_its_position(client, options):
    assert (await client.query("select nope", **options)).json["position"] == 8


@pytest.mark.parametrize("options", [{}, SETTINGS, ISOLATION])
async def test_a_deferred_violation_is_a_failed_commit(client, options):
    reply = await client.query(LATE, **options)
    assert (reply.status, reply.json["sqlstate"]) == (409, "23505")
    assert (reply.json["phase"], reply.json["executed"]) == ("commit", "no")
    assert await client.value("select count(*) from seats where id <> position") == 0
