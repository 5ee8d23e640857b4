"""The label of a statement: where it shows, and what it can't be."""

import logging

import pytest

from proxy.stats.counters import MAX_TAGS, OTHER_TAGS, Counters
from tests.fixtures.service import run_client
from tests.fixtures.stream import stream
from tests.fixtures.transaction import Transaction
from tests.fixtures.wired import run_wired

pytestmark = pytest.mark.matrix
SEEN = "select query from pg_stat_activity where pid = pg_backend_pid()"
TAG = "shop/checkout:v1.2-a_b"


@pytest.fixture(scope="module")
async def shared_client(upstream):
    async with run_client(upstream, pool={"size": 2, "overflow": 0}) as client:
        yield client


async def count(client, tag):
    return (await client.operations("/stats")).json["tags"].get(tag, {"count": 0})["count"]


async def test_the_tag_is_a_comment_on_the_last_line(client):
    assert await client.value(SEEN, tag=TAG) == f"{SEEN}\n-- {TAG}"


async def test_without_a_tag_the_statement_is_as_it_was_sent(client):
    assert await client.value(SEEN) == SEEN


async def test_a_stream_has_its_tag(client):
    reply = await stream(client, SEEN, tag=TAG, rows="arrays")
    assert reply.lines[1] == {"row": [f"{SEEN}\n-- {TAG}"]}


async def test_a_bare_statement_has_its_tag_in_the_query_string(client):
    headers = {"Content-Type": "application/sql"}
    path = f"/v1/query?rows=arrays&tag={TAG}"
    reply = await client.post(path, data=SEEN, headers=headers)
    assert reply.json["rows"] == [[f"{SEEN}\n-- {TAG}"]]


async def test_the_statements_of_a_batch_have_its_tag(client):
    body = {"statements": [{"sql": SEEN, "rows": "arrays"}] * 2, "tag": TAG}
    results = (await client.post("/v1/batch", json=body)).json["results"]
    assert [result["rows"] for result in results] == [[[f"{SEEN}\n-- {TAG}"]]] * 2


@pytest.mark.blocks
async def test_a_statement_in_a_transaction_has_its_tag(client):
    transaction = await Transaction.begin(client)
    assert await transaction.value(SEEN, tag=TAG) == f"{SEEN}\n-- {TAG}"
    await transaction.rollback()


async def test_a_named_parameter_and_a_tag_go_together(client):
    reply = await client.post(
        "/v1/query", json={"sql": "select :n", "params": {"n": 7}, "tag": "a"}
    )
    assert list(reply.json["rows"][0].values()) == ["7"]


async def test_a_tag_moves_no_position(client):
    sql = "select 1,\n  nothing_of_this_name"
    plain, tagged = await client.query(sql), await client.query(sql, tag=TAG)
    assert plain.json["position"] == tagged.json["position"] == sql.index("nothing") + 1


@pytest.mark.parametrize(
    ("sql", "value"), [("select 7 -- why", 7), ("select 7;", 7), ("select '--'", "--")]
)
async def test_a_tag_changes_no_statement(client, sql, value):
    assert await client.value(sql, tag=TAG) == value


@pytest.mark.parametrize("sql", ["select 'a", "select 1 /* a", "select $$a", 'select "a'])
async def test_a_tag_ends_nothing_that_the_statement_leaves_open(client, sql):
    plain, tagged = await client.query(sql), await client.query(sql, tag=TAG)
    assert (plain.status, plain.json["sqlstate"]) == (tagged.status, tagged.json["sqlstate"])
    assert tagged.json["sqlstate"] == "42601"


@pytest.mark.parametrize(
    "tag",
    ["", "a b", "a\n", "a\nselect 1", "a\r", "*/", "a;b", "'", "é", "\u2028", "a\0", "x" * 65],
)
async def test_what_could_leave_the_comment_is_refused(client, tag):
    reply = await client.query("select 1", tag=tag)
    assert (reply.status, reply.json["title"]) == (400, "invalid_request")
    assert reply.json["detail"] == "tag must be 1 to 64 of the characters A-Z a-z 0-9 _ . : / -"


async def test_a_statement_that_must_be_alone_may_have_a_tag(upstream):
    async with run_wired(upstream) as wired:
        reply, flights = await wired.fly("vacuum pg_catalog.pg_am", tag=TAG)
    assert flights == ["PBDES"]
    assert reply.status in {200, 403}  # where the login may not, Postgres 15 only warns


async def test_requests_are_counted_by_their_tag(client):
    before = await count(client, "counted")
    await client.query("select 1", tag="counted")
    await client.query("select 1 / 0", tag="counted")
    assert await count(client, "counted") == before + 2


def test_tags_that_are_too_many_are_counted_together():
    counters = Counters()
    for number in range(MAX_TAGS + 5):
        counters.count_tag(f"tag{number}", 0.5)
    counters.count_tag("tag0", 0.5)
    tags = counters.snapshot_tags()
    assert len(tags) == MAX_TAGS + 1
    assert tags[OTHER_TAGS] == {"count": 5, "total": 2.5, "max": 0.5}
    assert tags["tag0"]["count"] == 2


async def test_the_line_of_a_request_has_its_tag(upstream, caplog):
    caplog.set_level(logging.INFO, "pgsidecar.request")
    async with run_client(upstream, log={"access": True}) as client:
        await client.query("select 1", tag=TAG)
        await client.query("select 1")
    lines = [record.fields for record in caplog.records if record.name == "pgsidecar.request"]
    assert [line.get("tag", "none") for line in lines] == [TAG, "none"]
