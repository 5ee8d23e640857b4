"""The one table of scenarios."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.scenarios.request import measure_bouncer, measure_page, measure_point
from benchmarks.scenarios.stream import measure_stream
from benchmarks.session import Session


@dataclass(frozen=True, slots=True)
class Scenario:
    """Something to be measured; the title heads its table."""

    name: str
    title: str
    measure: Callable[[Session], None]
    is_quick: bool = True  # part of a quick run


SCENARIOS = (
    Scenario("point", "Point query: one row of five columns out of 100 k", measure_point),
    Scenario("page", "100 rows × 8 mixed columns, 16 clients", measure_page),
    Scenario("stream", "Stream of 1 M rows × 8 mixed columns", measure_stream),
    Scenario("bouncer", "Through PgBouncer in transaction mode, 16 clients", measure_bouncer),
)
