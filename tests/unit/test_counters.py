"""Counts of events."""

from proxy.stats.counters import Counters
from proxy.stats.events import Event

NOTHING = {"count": 0, "total": 0, "max": 0}


def test_every_event_is_there_before_it_happens():
    assert Counters().snapshot() == {event.value: NOTHING for event in Event}


def test_an_event_without_a_value_counts_one():
    counters = Counters()
    counters.count(Event.CONNECTION_OPENED)
    assert counters.snapshot()["connection_opened"] == {"count": 1, "total": 1, "max": 1}


def test_values_are_summed_and_their_maximum_is_kept():
    counters = Counters()
    for waited_s in (0.5, 2, 0.25):
        counters.count(Event.LANE_LENT, waited_s)
    assert counters.snapshot()["lane_lent"] == {"count": 3, "total": 2.75, "max": 2}


def test_events_are_counted_apart():
    counters = Counters()
    counters.count(Event.ROWS_SENT, 10)
    assert counters.snapshot()["bytes_sent"] == NOTHING
