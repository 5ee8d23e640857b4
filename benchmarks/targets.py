"""What has to be seen: bounds for ratios and for memory, and whether a run keeps them."""

from dataclasses import dataclass
from typing import Literal

from benchmarks.measure import Series

Place = tuple[str, str]  # a case and a peer
_ONE_GB = "1 GB"
_STREAM = "1 M rows × 8"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound for a figure of ours, or for its ratio to that of a peer."""

    sentence: str
    scenario: str
    figure: str
    ours: Place
    theirs: Place | None
    relation: Literal["≤", "<", "≥"]
    bound: float

    def evaluate(self, series: Series) -> float | None:
        """Return what was measured; None where it wasn't."""
        if self.theirs is None:
            return series.take_median(self.scenario, *self.ours, self.figure)
        return series.take_ratio(self.scenario, self.figure, self.ours, self.theirs)

    def is_met_by(self, value: float) -> bool:
        """Whether the value keeps the bound."""
        match self.relation:
            case "≤":
                return value <= self.bound
            case "<":
                return value < self.bound
            case "≥":
                return value >= self.bound


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target with what was measured."""

    sentence: str
    bound: str
    measured: float | None
    is_met: bool | None  # None: not measured


def judge(series: Series) -> list[Verdict]:
    """Hold every target against a run."""
    return [_judge_one(target, series) for target in TARGETS]


def _judge_one(target: Target, series: Series) -> Verdict:
    value = target.evaluate(series)
    is_met = None if value is None else target.is_met_by(value)
    return Verdict(target.sentence, f"{target.relation} {target.bound:.3g}", value, is_met)


def _point(clients: int, peer: str, relation: Literal["≤", "<"], bound: float) -> Target:
    case = f"{clients} clients"
    sentence = f"Point query, {clients} clients: CPU per request by that of {peer}"
    return Target(sentence, "point", "cpu_us", (case, "pgsidecar"), (case, peer), relation, bound)


def _page(peer: str, bound: float) -> Target:
    case = "16 clients"
    sentence = f"100 rows × 8: CPU per request by that of {peer}"
    return Target(sentence, "page", "cpu_us", (case, "pgsidecar"), (case, peer), "≤", bound)


def _stream(name: str, peer: str, bound: float) -> Target:
    sentence = f"Stream of 1 M × 8 as {name.upper()}: rows/s by those of {peer}"
    ours, theirs = (_STREAM, f"pgsidecar {name}"), (_STREAM, peer)
    return Target(sentence, "stream", "rows_per_s", ours, theirs, "≥", bound)


def _growth(scenario: str, case: str, name: str, sentence: str) -> Target:
    ours = (case, f"pgsidecar {name}")
    return Target(f"{sentence}, MiB", scenario, "growth_mib", ours, None, "<", 8)


TARGETS = (
    *(_point(clients, "recipe", "≤", 1 / 8) for clients in (16, 64)),
    *(_point(clients, "node", "<", 1) for clients in (16, 64)),
    _page("recipe", 1 / 30),
    _page("node", 1 / 5),
    *(_stream(name, "recipe ndjson", 40) for name in ("ndjson", "csv")),
    *(_stream(name, "node ndjson", 6) for name in ("ndjson", "csv")),
    *(_stream(name, "psql csv", 0.9) for name in ("ndjson", "csv")),
    *(
        _growth("memory", "4 M rows", name, f"Peak memory of 4 M rows as {name.upper()} over 1 M")
        for name in ("ndjson", "csv")
    ),
    *(
        _growth(
            "memory", "reader of 1 MB/s", name, f"Peak memory of a slow reader of {name.upper()}"
        )
        for name in ("ndjson", "csv")
    ),
    Target(
        "Bulk load of 1 M rows as CSV: rows/s by those of psql",
        "bulk",
        "rows_per_s",
        ("1 M rows × 8", "pgsidecar csv"),
        ("1 M rows × 8", "psql csv"),
        "≥",
        0.8,
    ),
    _growth("body", _ONE_GB, "csv", "Peak memory of a body of 1 GB over 100 MB"),
)
