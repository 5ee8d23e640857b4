"""The one table of scenarios."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.scenarios.bulk import measure_body, measure_bulk
from benchmarks.scenarios.flight import measure_flights
from benchmarks.scenarios.memory import measure_memory
from benchmarks.scenarios.request import measure_bouncer, measure_page, measure_point
from benchmarks.scenarios.start import measure_start
from benchmarks.scenarios.stream import measure_stream
from benchmarks.session import Session


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something to be measured; the title heads its table."""

    name: str
    title: str
    measure: Callable[[Session], None]
    note: str
    is_quick: bool = True  # part of a quick run


SCENARIOS = (
    Scenario(
        "point",
        "Point query: one row of five columns out of 100 k",
        measure_point,
        "CPU per request. pgbench has no process between itself and Postgres, and waits in C.",
    ),
    Scenario("page", "100 rows × 8 mixed columns", measure_page, "CPU per request."),
    Scenario(
        "stream",
        "Stream of 1 M rows × 8 mixed columns",
        measure_stream,
        "CPU per row. Slow peers stream fewer rows, as the column says; rows/s are compared.",
    ),
    Scenario(
        "memory",
        "Memory of a stream",
        measure_memory,
        "A fresh service per format; growth is over its own peak at 1 M rows.",
    ),
    Scenario(
        "bulk",
        "Bulk load of 1 M rows × 8 mixed columns",
        measure_bulk,
        "CPU per row. From a file of CSV into an unlogged table without an index.",
    ),
    Scenario(
        "body",
        "Memory of a bulk load of 1 GB",
        measure_body,
        "The rows of the file, over and over; growth is over the peak at 1 M rows.",
        is_quick=False,
    ),
    Scenario(
        "bouncer",
        "Through PgBouncer in transaction mode, 16 clients",
        measure_bouncer,
        "CPU per request. Its pool is as large as everybody's own.",
    ),
    Scenario(
        "flights",
        "Flights of a point query",
        measure_flights,
        "Flights are bursts that end in waiting; messages are those of the Postgres protocol.",
    ),
    Scenario(
        "start",
        "Start-up and memory at rest",
        measure_start,
        "From the start of the process to the first good answer.",
    ),
)
