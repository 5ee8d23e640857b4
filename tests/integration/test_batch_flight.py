"""A batch on the wire: how many flights it takes, and what the next request sees of it."""

import pytest

from tests.fixtures.batch import batch
from tests.fixtures.load import open_table
from tests.fixtures.service import assert_nothing_left
from tests.fixtures.wired import run_wired

pytestmark = pytest.mark.matrix
OPTIONS = {"role": "clerk", "settings": {"work_mem": "8MB", "search_path": "pg_catalog"}}
SHOW = (
    "select current_user::text as who, current_setting('work_mem') as memory, "
    "current_setting('search_path') as path, "
    "current_setting('transaction_isolation') as level, "
    "current_setting('transaction_read_only') as is_read_only"
)


@pytest.fixture
async def wired(upstream, notes):
    async with run_wired(upstream, session={"allowed_roles": ["clerk"]}) as running:
        yield running
        await assert_nothing_left(running.client, upstream)


async def fly(wired, *statements, **members):
    mark = wired.wire.mark()
    reply = await batch(wired.client, *statements, **members)
    return reply, wired.wire.flights(mark)


async def test_isolation_and_read_only_travel_in_the_same_flight(wired):
    members = {**OPTIONS, "isolation": "serializable", "read_only": True}
    reply, flights = await fly(wired, *[SHOW] * 10, **members)
    assert len(flights) == 1
    assert flights[0].count("PBDE") == 10
    expected = ["clerk", "8MB", "pg_catalog", "serializable", "on"]
    assert [list(each["rows"][0].values()) for each in reply.json["results"]] == [expected] * 10


async def test_sets_of_parameters_travel_in_one_flight_and_are_parsed_once(wired):
    statement = {"sql": "select $1::int as n", "param_sets": [[n] for n in range(5)]}
    reply, flights = await fly(wired, statement)
    assert flights == ["PBDE" + "BE" * 4 + "S"]
    assert [row["n"] for row in reply.json["results"][0]["rows"]] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("mode", ["separate", "parallel"])
async def test_each_statement_on_its_own_is_a_flight(wired, mode):
    _, flights = await fly(wired, "select 1", "select 2", mode=mode)
    assert flights == ["PBDES"] * 2


@pytest.mark.parametrize("last", ["select 1", "select 1 / 0"])
@pytest.mark.parametrize("mode", ["atomic", "separate"])
async def test_nothing_of_a_batch_is_left_to_the_next_request(wired, mode, last):
    before = await wired.client.rows(SHOW)
    members = {**OPTIONS, "isolation": "serializable", "read_only": True, "mode": mode}
    await fly(wired, SHOW, last, **members)
    assert await wired.client.rows(SHOW) == before


@pytest.mark.blocks
async def test_a_constraint_that_fails_at_the_commit_of_a_block_undoes_everything(wired, upstream):
    columns = "id int, unique (id) deferrable initially deferred"
    async with open_table(upstream, columns) as table:
        insert = f"insert into {table} values (1)"
        reply, _ = await fly(wired, insert, insert, isolation="serializable")
        problem = reply.json
        assert (problem["sqlstate"], problem["phase"]) == ("23505", "commit")
        assert (problem["executed"], problem["statement_index"]) == ("no", None)
        assert await wired.client.value(f"select count(*) from {table}") == 0
