"""Flights, byte by byte."""

import pytest

from proxy.engine.flight import build_flight, settings_prefix
from proxy.wire.messages import DESCRIBE, SYNC, build_bind, build_execute, build_parse


def test_flight_without_settings_is_one_statement_and_a_sync():
    assert build_flight(b"select 1") == b"".join(
        (build_parse(b"select 1"), build_bind([]), DESCRIBE, build_execute(), SYNC)
    )


def test_values_and_their_types_travel_along():
    flight = build_flight(b"select $1, $2", [None, b"1"], [0, 23])
    assert build_parse(b"select $1, $2", [0, 23]) + build_bind([None, b"1"]) in flight


@pytest.mark.parametrize(("oids", "sent"), [([23, 0, 0], [23]), ([0], []), ([0, 25, 0], [0, 25])])
def test_inferred_types_at_the_end_are_left_out(oids, sent):
    assert build_flight(b"select 1", [], oids).startswith(build_parse(b"select 1", sent) + b"B")


def test_row_limit_is_the_executes():
    assert build_flight(b"select 1", max_rows=11).endswith(build_execute(11) + SYNC)


@pytest.mark.parametrize("settings", [None, {}])
def test_no_settings_cost_nothing(settings):
    assert build_flight(b"select 1", settings=settings) == build_flight(b"select 1")


def test_settings_stand_before_the_statement_under_the_same_sync():
    settings = {"TimeZone": "Asia/Tokyo"}
    flight = build_flight(b"select 1", settings=settings)
    assert flight == settings_prefix(settings) + build_flight(b"select 1")
    assert flight.count(SYNC) == 1


def test_settings_are_bound_so_that_nothing_needs_quoting():
    prefix = settings_prefix({"app.a": "'; drop table t", "app.é": "\\"})
    sql = (
        b"select 1 where pg_catalog.set_config($1,$2,true) is null"
        b" or pg_catalog.set_config($3,$4,true) is null"
    )
    values = [b"app.a", b"'; drop table t", "app.é".encode(), b"\\"]
    assert prefix == build_parse(sql) + build_bind(values) + build_execute()
