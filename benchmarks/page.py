"""A result as Markdown: for the terminal, and for docs/reference/performance.md."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from benchmarks.result import Result
from benchmarks.targets import Verdict


class Column(NamedTuple):
    """How a figure is shown."""

    figure: str
    heading: str
    form: str


COLUMNS = (
    Column("rows", "rows", ",.0f"),
    Column("requests_per_s", "requests/s", ",.0f"),
    Column("rows_per_s", "rows/s", ",.0f"),
    Column("cpu_us", "CPU µs", ",.3g"),
    Column("p50_ms", "p50 ms", ".2f"),
    Column("p95_ms", "p95 ms", ".2f"),
    Column("p99_ms", "p99 ms", ".2f"),
    Column("mean_ms", "mean ms", ".2f"),
    Column("first_byte_ms", "first byte ms", ".1f"),
    Column("flights", "flights", ".2g"),
    Column("messages", "messages", ".2g"),
    Column("start_s", "start s", ".2f"),
    Column("rest_mib", "memory at rest MiB", ".0f"),
    Column("before_mib", "before MiB", ".0f"),
    Column("peak_mib", "peak MiB", ".0f"),
    Column("after_mib", "after MiB", ".0f"),
    Column("growth_mib", "growth MiB", ".1f"),
    Column("client_cpu_share", "client's CPU share", ".2f"),
)
_OURS = "pgsidecar"
_BODY_MINIMUM = 100  # above it digits after the point say nothing


def render_tables(result: Result) -> str:
    """Render every table, the targets last."""
    parts = ["\n".join(_render_scenario(result, name)) for name in result.titles]
    return "\n\n".join([*parts, "\n".join(_render_targets(result.targets))])


def _render_scenario(result: Result, name: str) -> Iterator[str]:
    yield f"## {result.titles[name]}\n"
    if name in result.missing:
        yield f"Not measured: {result.missing[name]}"
        return
    columns = [one for one in COLUMNS if _has(result, name, one.figure)]
    ratio = _choose_ratio(columns)
    headings = ["case", "peer", *(one.heading for one in columns)]
    yield from _render_head([*headings, f"{ratio.heading} by {_OURS}'s"] if ratio else headings)
    for case in result.series.cases(name):
        for peer in result.series.peers(name, case):
            cells = [_show(result, (name, case, peer), column) for column in columns]
            tail = [_show_ratio(result, (name, case, peer), ratio)] if ratio else []
            yield _render_row([case, peer, *cells, *tail])


def _has(result: Result, scenario: str, figure: str) -> bool:
    return any(one.scenario == scenario and figure in one.figures for one in result.measures)


def _choose_ratio(columns: Sequence[Column]) -> Column | None:
    wanted = ("rows_per_s", "cpu_us")
    return next((one for name in wanted for one in columns if one.figure == name), None)


def _show(result: Result, place: tuple[str, str, str], column: Column) -> str:
    value = result.series.take_median(*place, column.figure)
    return "" if value is None else _format(value, column.form)


def _format(value: float, form: str) -> str:
    return f"{value:,.0f}" if form == ",.3g" and value >= _BODY_MINIMUM else f"{value:{form}}"


def _show_ratio(result: Result, place: tuple[str, str, str], column: Column) -> str:
    scenario, case, peer = place
    ours = next(iter(result.series.peers(scenario, case)))
    if not ours.startswith(_OURS):
        return ""
    ratio = result.series.take_ratio(scenario, column.figure, (case, peer), (case, ours))
    return "" if ratio is None else f"{ratio:.3g}"


def _render_targets(targets: Sequence[Verdict]) -> Iterator[str]:
    yield "## Targets\n"
    yield from _render_head(["target", "bound", "measured", "met"])
    words = {True: "yes", False: "no", None: "not measured"}
    for one in targets:
        measured = "" if one.measured is None else f"{one.measured:.3g}"
        yield _render_row([one.sentence, one.bound, measured, words[one.is_met]])


def _render_head(headings: Sequence[str]) -> Iterator[str]:
    yield _render_row(headings)
    yield "|" + "---|" * len(headings)


def _render_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
