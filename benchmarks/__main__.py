"""Run the benchmarks: scenarios against the peers, interleaved; see benchmarks/README.md."""

import argparse
import sys
import time
from collections.abc import Collection
from datetime import UTC, datetime

from benchmarks.catalogue import SCENARIOS, Scenario
from benchmarks.database import Database, run_database
from benchmarks.environment import read_commit, read_machine, read_versions
from benchmarks.page import render_tables
from benchmarks.peer import PeerFailed
from benchmarks.report import say
from benchmarks.result import Result
from benchmarks.roster import CACHE, DESCRIPTIONS, ROOT
from benchmarks.session import Missing, Session
from benchmarks.targets import judge
from proxy.dev.process import StartFailed

_QUICK_S = 0.7
_REASON_CHARS = 300  # the end of what a program says has the reason
_FULL_S = 3.0
RESULTS = ROOT / "benchmarks" / "results"
PARTS = CACHE / "results"  # what isn't whole is no result to point to


def main() -> int:
    """Run what the command line asks for; returns the exit status."""
    options = parse()
    try:
        with run_database() as database:
            result = measure(database, options)
    except StartFailed as reason:
        say(str(reason))
        return 1
    print(render_tables(result))
    say(f"\nWritten to {result.write(RESULTS if result.is_whole else PARTS)}")
    return 1 if result.missing else 0


def measure(database: Database, options: argparse.Namespace) -> Result:
    """Run the scenarios; what leaves anything out isn't whole."""
    seconds = options.seconds or (_QUICK_S if options.quick else _FULL_S)
    session = Session(database, options.quick, options.peers, seconds)
    for scenario in choose(options):
        run_scenario(session, scenario)
    is_part = options.quick or options.only or options.peers or options.seconds
    return build_result(session, is_whole=not (is_part or session.missing))


def choose(options: argparse.Namespace) -> list[Scenario]:
    """Choose the scenarios that are asked for."""
    if options.only:
        return [one for one in SCENARIOS if one.name in options.only]
    return [one for one in SCENARIOS if one.is_quick or not options.quick]


def run_scenario(session: Session, scenario: Scenario) -> None:
    """Run one scenario; what is missing or fails is noted, and the others go on."""
    say(f"{scenario.name}: {scenario.title}")
    started = time.monotonic()
    session.titles[scenario.name] = scenario.title
    session.notes[scenario.name] = scenario.note
    try:
        scenario.measure(session)
    except (Missing, PeerFailed) as reason:
        session.missing[scenario.name] = " ".join(str(reason).split())[-_REASON_CHARS:]
        say(f"  not measured: {reason}")
    say(f"  {time.monotonic() - started:.0f} s")


def build_result(session: Session, *, is_whole: bool) -> Result:
    """Add to what was measured with what and where."""
    commit, is_dirty = read_commit()
    return Result(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit,
        is_dirty=is_dirty,
        is_whole=is_whole,
        seconds=session.measure_s,
        rounds=session.rounds,
        machine=read_machine(),
        versions=read_versions(session.database),
        peers=DESCRIPTIONS,
        titles=session.titles,
        notes=session.notes,
        missing=session.missing,
        targets=judge(session.series),
        measures=session.series.measures,
    )


def parse() -> argparse.Namespace:
    """Read the command line."""
    names = [one.name for one in SCENARIOS]
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter, fewer cases: two minutes")
    parser.add_argument(
        "--only", type=lambda text: split(text, names), default=[], help=f"of {','.join(names)}"
    )
    parser.add_argument(
        "--peers",
        type=lambda text: split(text, DESCRIPTIONS),
        default=[],
        help=f"of {','.join(DESCRIPTIONS)}",
    )
    parser.add_argument("--seconds", type=float, default=0.0, help="length of one measurement")
    return parser.parse_args()


def split(text: str, allowed: Collection[str]) -> list[str]:
    """Take a list apart, and refuse what isn't allowed."""
    names = text.split(",")
    if unknown := set(names) - set(allowed):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
