"""Arrow that the service streams, held against what asyncpg reads from the same server."""

import nanoarrow as na
import pytest

from tests.fixtures.service import observe, run_client
from tests.fixtures.stream import MANY, stream

AS_THEY_ARE = """
select n % 2 = 0 as bool, (n - 9)::int2 as int2, (n * -70000)::int4 as int4,
    n * 9000000000000::int8 as int8, (n * 1000000000::int8)::oid as oid,
    (n / 8.0)::float4 as float4, n / 7::float8 as float8, 'Infinity'::float8 as infinite,
    (n / 8.0)::numeric(12, 2) as price, (n / 8.0)::numeric(38, 10) as long,
    'é ' || n as text, n::bpchar(3) as padded, json_build_object('n', n) as json,
    set_byte('\\x00ff', 0, n) as bytea,
    date '1969-12-30' + n as date, time '23:59:58.25' + n * interval '1 s' as time,
    timestamp '1969-12-31 23:59:57.000001' + n * interval '1 s' as timestamp,
    timestamptz '1883-11-18 14:00:00.25+00' + n * interval '1 h' as timestamptz,
    array[n, null, -n] as numbers, array[n]::numeric(8, 3)[] as prices,
    array['a;b', 'c,d', '{}', '', 'null', null, '"\\', ' é'] as texts,
    array[timestamptz '2026-01-02 03:04:05+00', null] as moments,
    array['\\x00ff'::bytea] as binaries, '{}'::date[] as none,
    array['(1,1),(0,0)'::box, null]::text[] as boxes, nullif(n, 2) as gaps
from generate_series(1, 4) n
"""
AS_TEXT = """
select 'infinity'::date as forever, '0044-03-15 BC'::date as ides,
    '294276-12-31 23:59:59'::timestamp as late, '-infinity'::timestamptz as before,
    '24:00'::time as midnight, 'NaN'::numeric(12, 2) as price, 12345::numeric(2, -4) as rounded,
    1::numeric(40, 2) as long, 1.10 as bare, '{{1,2},{3,4}}'::int4[] as matrix,
    '[0:1]={1,2}'::int4[] as bounds, interval '1 day 02:00' as day, int4range(1, 5) as range
"""
FAILS_TO_FIT = (
    "select case n when $1::int then 'infinity' else date '2026-01-02' end as born"
    " from (select generate_series(1, $1::int) n) s"
)
NEW_YORK = {"TimeZone": "America/New_York"}  # at -04:56:02 in the first hours of `timestamptz`
ARROW = {"format": "arrow"}
END = b"\xff\xff\xff\xff\0\0\0\0"  # of an Arrow stream


@pytest.fixture(params=["postgres", "postgres-15"])
def server(request, servers):
    return servers.upstream(request.param)


async def test_values_are_those_of_the_server(server):
    async with run_client(server) as client, observe(server) as observer:
        answer = await stream(client, AS_THEY_ARE, query=ARROW, settings=NEW_YORK)
        expected = await observer.fetch(AS_THEY_ARE)
    table = na.ArrayStream.from_readable(answer.body).read_all()
    assert table.to_pylist() == [dict(row) for row in expected]


async def test_values_that_arrow_has_nothing_for_are_text(server):
    async with run_client(server) as client, observe(server) as observer:
        answer = await stream(client, AS_TEXT, query=ARROW)
        names = [column.name for column in (await observer.prepare(AS_TEXT)).get_attributes()]
        columns = ", ".join(f'"{name}"::text' for name in names)
        expected = await observer.fetchrow(f"select {columns} from ({AS_TEXT}) s")
    table = na.ArrayStream.from_readable(answer.body).read_all()
    assert table.to_pylist() == [dict(expected)]


async def test_a_late_value_that_does_not_fit_breaks_the_stream_off(server):
    async with run_client(server) as client:
        answer = await stream(client, FAILS_TO_FIT, MANY, query=ARROW)
        assert (answer.status, answer.is_complete) == (200, False)
        assert b"infinity" not in answer.body
        assert not answer.body.endswith(END)
        text = FAILS_TO_FIT.replace("end as born", "end::text as born")
        answer = await stream(client, text, MANY, query=ARROW)
    batches = na.ArrayStream.from_readable(answer.body).read_all()
    assert (answer.is_complete, len(batches)) == (True, MANY)
    assert answer.body.endswith(END)
