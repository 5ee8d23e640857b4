"""One measurement, and what follows from several: medians, and ratios pair by pair."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Self


@dataclass(frozen=True, slots=True)
class Measure:
    """Figures of one peer in one round; units stand in the figures' names."""

    scenario: str
    case: str
    peer: str
    round: int
    figures: dict[str, float]


@dataclass(slots=True)
class Series:
    """All measures of a run."""

    measures: list[Measure] = field(default_factory=list)

    @classmethod
    def of(cls, measures: Iterable[Measure]) -> Self:
        """Take measures from wherever they come."""
        return cls(list(measures))

    def cases(self, scenario: str) -> list[str]:
        """Cases of a scenario in the order in which they were measured."""
        return list(dict.fromkeys(one.case for one in self.measures if one.scenario == scenario))

    def peers(self, scenario: str, case: str) -> list[str]:
        """Peers of a case in the order in which they were measured."""
        return list(dict.fromkeys(one.peer for one in self._of_case(scenario, case)))

    def take_median(self, scenario: str, case: str, peer: str, figure: str) -> float | None:
        """Median of a figure over the rounds; None where it wasn't measured."""
        values = self._by_round(scenario, case, peer, figure).values()
        return median(values) if values else None

    def take_ratio(
        self, scenario: str, figure: str, ours: tuple[str, str], theirs: tuple[str, str]
    ) -> float | None:
        """Median over the rounds of one figure by another; each side is a case and a peer.

        Both of a pair come from the same round, so what slows the machine slows both.
        """
        above = self._by_round(scenario, *ours, figure)
        below = self._by_round(scenario, *theirs, figure)
        ratios = [above[one] / below[one] for one in above if below.get(one)]
        return median(ratios) if ratios else None

    def _of_case(self, scenario: str, case: str) -> Sequence[Measure]:
        return [one for one in self.measures if (one.scenario, one.case) == (scenario, case)]

    def _by_round(self, scenario: str, case: str, peer: str, figure: str) -> dict[int, float]:
        return {
            one.round: one.figures[figure]
            for one in self._of_case(scenario, case)
            if one.peer == peer and figure in one.figures
        }
