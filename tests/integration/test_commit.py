"""A COMMIT that the server answers by ROLLBACK is no success.

In a flight of ours the error that made it fail always comes first, and the server passes over the
COMMIT; so this is the server's own answer, brought about by hand, and held against our verdict.
"""

import pytest
from msgspec.json import encode

from proxy.errors import ProxyError
from proxy.query.body import parse_body
from proxy.query.models import QueryLimits, to_query
from proxy.query.verdict import check_answer
from proxy.wire.answer import Discard
from proxy.wire.lane import Lane
from tests.fixtures.lane import MESSAGE_BYTES, open_driver

pytestmark = [pytest.mark.matrix, pytest.mark.blocks]
LIMITS = QueryLimits(rows=10, bytes=1024, timeout_s=1, timeout_max_s=1, sql_bytes=1024)
QUERY = to_query(parse_body(encode({"sql": "insert into t values (1)"})), LIMITS)


async def commit(dsn, statement):
    """Answer of a COMMIT behind `statement`, in a transaction of several round trips."""
    async with open_driver(dsn) as driver:
        lane = Lane(driver, MESSAGE_BYTES)
        await lane.send_query("BEGIN", Discard())
        await lane.send_query(statement, Discard())
        answer = await lane.send_query("COMMIT", Discard())
        lane.hand_back()
        return answer


async def test_a_commit_that_rolls_back_is_an_error(upstream):
    answer = await commit(upstream.dsn, "select 1 / 0")
    assert (answer.tag, answer.error, answer.status) == (b"ROLLBACK\0", None, "I")
    with pytest.raises(ProxyError, match="COMMIT was answered by ROLLBACK") as refused:
        check_answer(answer, QUERY)
    assert refused.value.phase == "commit"


async def test_a_commit_that_commits_is_none(upstream):
    check_answer(await commit(upstream.dsn, "select 1"), QUERY)
