"""What a scenario gets: the database, who takes part, how long to measure."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.database import Database
from benchmarks.measure import Measure, Series
from benchmarks.peer import Kind, Peer, Target, run_peers
from benchmarks.report import say
from benchmarks.roster import POOL_SIZE

ROUNDS = 3
NOT_QUICK = ("recipe typed", "pgbench extended")


class Missing(Exception):
    """What a scenario measures isn't there; the sentence says what."""


@dataclass(slots=True)
class Session:
    """One run of the benchmarks."""

    database: Database
    is_quick: bool
    only_peers: Collection[str]  # empty: all
    measure_s: float
    rounds: int = ROUNDS
    series: Series = field(default_factory=Series)
    titles: dict[str, str] = field(default_factory=dict)  # of the scenarios that were run
    notes: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def takes(self, peer: str) -> bool:
        """Whether this peer takes part."""
        if self.only_peers:
            return peer in self.only_peers
        return not (self.is_quick and peer in NOT_QUICK)

    @contextmanager
    def run(
        self, kinds: Sequence[Kind], dsn: str | None = None, body_bytes: int = 0
    ) -> Iterator[list[Peer]]:
        """Run those of the peers that take part."""
        target = Target(dsn or self.database.dsn, POOL_SIZE, body_bytes)
        with run_peers([kind for kind in kinds if self.takes(kind.name)], target) as peers:
            yield peers

    def add(self, measure: Measure) -> None:
        """Keep a measure, and show that something happens."""
        self.series.measures.append(measure)
        figures = "  ".join(f"{name} {_shorten(value)}" for name, value in measure.figures.items())
        say(f"  {measure.case}, round {measure.round}, {measure.peer}: {figures}")


def _shorten(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
