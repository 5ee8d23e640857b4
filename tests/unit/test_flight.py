"""Flights, byte by byte."""

import pytest

from proxy.engine.flight import (
    BatchStatement,
    Transaction,
    build_batch_flight,
    build_flight,
    settings_prefix,
)
from proxy.wire.messages import DESCRIBE, SYNC, Flight, build_bind, build_execute, build_parse

STATEMENT = build_parse(b"select 1") + build_bind([]) + DESCRIBE + build_execute()
SETTINGS = {"TimeZone": "Asia/Tokyo"}


def command(sql):
    return build_parse(sql) + build_bind([]) + build_execute()


def build(**options):
    return build_flight(b"select 1", **options)


def test_flight_without_settings_is_one_statement_and_a_sync():
    assert build() == Flight(STATEMENT + SYNC, prefixes=0)


def test_values_and_their_types_travel_along():
    flight = build_flight(b"select $1, $2", [None, b"1"], [0, 23])
    assert build_parse(b"select $1, $2", [0, 23]) + build_bind([None, b"1"]) in flight.data


@pytest.mark.parametrize(("oids", "sent"), [([23, 0, 0], [23]), ([0], []), ([0, 25, 0], [0, 25])])
def test_inferred_types_at_the_end_are_left_out(oids, sent):
    flight = build_flight(b"select 1", [], oids)
    assert flight.data.startswith(build_parse(b"select 1", sent) + b"B")


def test_row_limit_is_the_executes():
    assert build(max_rows=11).data.endswith(build_execute(11) + SYNC)


@pytest.mark.parametrize("settings", [None, {}])
def test_no_settings_cost_nothing(settings):
    assert build(settings=settings) == build()


def test_settings_stand_before_the_statement_under_the_same_sync():
    flight = build(settings=SETTINGS)
    assert flight == Flight(settings_prefix(SETTINGS) + STATEMENT + SYNC, prefixes=1)


def test_settings_are_bound_so_that_nothing_needs_quoting():
    prefix = settings_prefix({"app.a": "'; drop table t", "app.é": "\\"})
    sql = (
        b"select 1 where pg_catalog.set_config($1,$2,true) is null"
        b" or pg_catalog.set_config($3,$4,true) is null"
    )
    values = [b"app.a", b"'; drop table t", "app.é".encode(), b"\\"]
    assert prefix == build_parse(sql) + build_bind(values) + build_execute()


@pytest.mark.parametrize(
    ("transaction", "begin", "end"),
    [
        (Transaction(read_only=True), b"begin read only", b"commit"),
        (Transaction(dry_run=True), b"begin", b"rollback"),
        (Transaction("serializable"), b"begin isolation level serializable", b"commit"),
        (
            Transaction("repeatable read", read_only=True),
            b"begin isolation level repeatable read read only",
            b"commit",
        ),
    ],
)
def test_a_block_is_pipelined_around_settings_and_statement(transaction, begin, end):
    flight = build(settings=SETTINGS, transaction=transaction)
    parts = (command(begin), settings_prefix(SETTINGS), STATEMENT, command(end), SYNC)
    assert flight == Flight(b"".join(parts), prefixes=2)


def test_without_blocks_the_prefix_sets_isolation_first_and_read_only_last():
    transaction = Transaction("serializable", read_only=True, is_block=False)
    flight = build(settings=SETTINGS, transaction=transaction)
    parts = (
        command(b"set transaction isolation level serializable"),
        settings_prefix({**SETTINGS, "transaction_read_only": "on"}),
        STATEMENT,
        SYNC,
    )
    assert flight == Flight(b"".join(parts), prefixes=2)


def test_without_blocks_read_only_alone_is_a_setting():
    flight = build(transaction=Transaction(read_only=True, is_block=False))
    prefix = settings_prefix({"transaction_read_only": "on"})
    assert flight == Flight(prefix + STATEMENT + SYNC, prefixes=1)


def test_a_batch_parses_and_describes_each_statement_once_for_all_of_its_sets():
    inserted = BatchStatement(b"insert", [(b"1",), (b"2",)], (23,))
    flight = build_batch_flight([inserted, BatchStatement(b"select", [()], ())])
    insert = build_parse(b"insert", (23,)) + build_bind((b"1",)) + DESCRIBE + build_execute()
    select = build_parse(b"select") + build_bind(()) + DESCRIBE + build_execute()
    again = build_bind((b"2",)) + build_execute()
    assert flight == Flight(insert + again + select + SYNC, more=2)


def test_a_block_is_pipelined_around_a_whole_batch():
    statements = [BatchStatement(b"select", [()], ())] * 2
    flight = build_batch_flight(statements, {"a": "b"}, Transaction(read_only=True))
    select = build_parse(b"select") + build_bind(()) + DESCRIBE + build_execute()
    start = command(b"begin read only") + settings_prefix({"a": "b"})
    assert flight == Flight(start + select * 2 + command(b"commit") + SYNC, 2, more=1)
