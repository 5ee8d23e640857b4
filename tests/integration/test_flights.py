"""How many round trips a query costs: one."""

import pytest

from tests.fixtures.service import Client, run_client
from tests.fixtures.tcp_proxy import TcpProxy

PARSE_BYTES = 1 + 4 + 1 + 1 + 2  # type, length, two ends of strings, number of types


@pytest.fixture
async def wire(upstream):
    async with TcpProxy("127.0.0.1", upstream.port) as proxy:
        yield proxy


@pytest.fixture
async def client(wire):
    dsn = f"postgresql://app@127.0.0.1:{wire.port}/app"
    async with run_client(dsn, pool={"size": 1, "overflow": 0}) as client:
        await client.value("select 1")
        yield client


async def test_a_query_is_one_flight(wire: TcpProxy, client: Client):
    mark = wire.mark()
    assert await client.value("select $1::int", 7) == 7
    assert wire.flights(mark) == ["PBDES"]


async def test_a_query_with_settings_is_one_flight(wire: TcpProxy, client: Client):
    mark = wire.mark()
    settings = {"app.tenant": "7", "TimeZone": "Asia/Tokyo"}
    assert await client.value("select current_setting('app.tenant')", settings=settings) == "7"
    assert wire.flights(mark) == ["PBEPBDES"]


async def test_a_failed_query_is_one_flight(wire: TcpProxy, client: Client):
    mark = wire.mark()
    for sql in ("select 1/0", "select nope", "selekt", "select $1::int"):
        assert (await client.query(sql)).status == 400
    assert wire.flights(mark) == ["PBDES"] * 4


async def test_a_large_answer_is_one_flight(wire: TcpProxy, client: Client):
    mark = wire.mark()
    await client.rows("select n, repeat('x', 500) from generate_series(1, 10000) as n")
    assert wire.count_flights(mark) == 1


async def test_queries_share_one_connection(wire: TcpProxy, client: Client):
    before = wire.connections_total
    for _ in range(10):
        await client.value("select 1")
    assert wire.connections_total == before


async def test_a_query_in_a_transaction_of_its_own_is_one_flight(wire: TcpProxy, client: Client):
    mark = wire.mark()
    await client.value("select 1", isolation="serializable")
    await client.value("select 1", read_only=True, settings={"app.tenant": "7"})
    assert wire.count_flights(mark) == 2


@pytest.mark.blocks
async def test_a_failure_in_such_a_transaction_costs_its_rollback(wire: TcpProxy, client: Client):
    mark = wire.mark()
    assert (await client.query("select 1/0", isolation="serializable")).status == 400
    assert await client.value("select 1") == 1
    assert wire.flights(mark) == ["PBEPBDEPBES", "Q", "PBDES"]


async def test_what_a_guard_refuses_is_no_flight(wire: TcpProxy, client: Client):
    mark = wire.mark()
    for sql in ("begin", "set work_mem = 1", "copy users to stdout", "select 1; select 2", ";"):
        assert (await client.query(sql)).status >= 400
    assert wire.flights(mark) == []


async def test_an_unknown_type_costs_one_more_flight_once(wire: TcpProxy, client: Client):
    mark = wire.mark()
    sql = "select a_mood, moods, an_address from every_type where id = $1"
    assert (await client.query(sql, 1)).json["rows"][0]["moods"] == ["sad", "happy"]
    assert wire.count_flights(mark) == 2
    assert await client.value("select 'sad'::mood") == "sad"
    assert await client.value("select moods from every_type where id = 1") == ["sad", "happy"]
    assert wire.count_flights(mark) == 4


async def test_no_statement_has_a_name(wire: TcpProxy, client: Client):
    """A Parse message has no room for one beside the SQL."""
    mark = wire.mark()
    sql = "select 7"
    await client.value(sql)
    (parse,) = [message for message in wire.messages[mark:] if message.type == "P"]
    assert parse.length == PARSE_BYTES + len(sql)
