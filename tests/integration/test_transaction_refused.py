"""Where the upstream has no transactions, none begins."""

import pytest

from tests.fixtures.transaction import begin
from tests.fixtures.wired import run_wired

STATEMENT_POOLS = ("statement", "1.18-statement", "1.24-untracked-statement")


@pytest.mark.parametrize("name", STATEMENT_POOLS)
async def test_a_statement_pool_is_told_apart_before_anything_is_sent(servers, name):
    async with run_wired(servers.upstream(name)) as wired:
        mark = wired.wire.mark()
        reply = await begin(wired.client)
        assert (reply.status, reply.json["title"]) == (409, "needs_transactions")
        assert wired.wire.flights(mark) == []
