"""Two thousand clients at once, of every kind and end: true answers, and nothing is left."""

import logging

import pytest

from tests.fixtures.load import open_table
from tests.fixtures.service import run_client
from tests.fixtures.storm import LEFT, Storm, assert_all_lanes_serve, assert_storm_is_over

CLIENTS = 2000
POOL = {"size": 4, "overflow": 0, "queue_size": 5000, "checkout_timeout_s": 60}
LIMITS = {"timeout_s": 60, "held_share": 0.5}
MET = {"ok", "division_by_zero", "query_canceled", "deadline_exceeded", LEFT}


@pytest.mark.matrix
@pytest.mark.timeout(300)
async def test_two_thousand_clients_get_true_answers_and_leave_nothing(upstream, caplog):
    async with (
        open_table(upstream, "id int primary key") as table,
        run_client(upstream, pool=POOL, limits=LIMITS) as client,
    ):
        storm = Storm(client, table, "great")
        await storm.rage(CLIENTS)
        await assert_storm_is_over(storm, upstream)
        await assert_all_lanes_serve(client, POOL["size"])
    assert storm.met.keys() >= MET
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
