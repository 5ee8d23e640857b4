"""What the benchmarks compute, and how they read a stream."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.equality import compare, read_csv
from benchmarks.measure import Measure, Series
from benchmarks.page import render_page
from benchmarks.peer import PeerFailed
from benchmarks.reader import Body
from benchmarks.result import Result, find_newest
from benchmarks.statement import select_user
from benchmarks.targets import TARGETS, Verdict, judge

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def make_series(ours: list[float], theirs: list[float], figure: str = "cpu_us") -> Series:
    pairs = enumerate(zip(ours, theirs, strict=True))
    return Series(
        [
            Measure("point", "16 clients", peer, number, {figure: value})
            for number, pair in pairs
            for peer, value in zip(("pgsidecar", "recipe"), pair, strict=True)
        ]
    )


def make_result(**changes: object) -> Result:
    result = Result(
        date="2026-01-02T03:04:05+00:00",
        commit="0123456789abcdef",
        is_dirty=False,
        is_whole=True,
        seconds=3,
        rounds=3,
        machine={"cores": "2", "cpu": "CPU", "memory": "24 GiB", "system": "Linux 6"},
        versions={"python": "3.11.7"},
        peers={"pgsidecar": "as users run it"},
        titles={"point": "Point query", "bulk": "Bulk load"},
        notes={"point": "CPU per request.", "bulk": "CPU per row."},
        missing={"bulk": "no such path"},
        targets=judge(make_series([10], [90])),
        measures=make_series([10], [90]).measures,
    )
    return replace(result, **changes)


def test_a_ratio_is_the_median_of_the_rounds_ratios():
    series = make_series([10, 20, 300], [20, 80, 1000])
    place = ("16 clients", "pgsidecar"), ("16 clients", "recipe")
    assert series.take_ratio("point", "cpu_us", *place) == 0.3


def test_a_ratio_to_somebody_who_was_not_measured_is_none():
    series = make_series([10], [20])
    place = ("16 clients", "pgsidecar"), ("16 clients", "node")
    assert series.take_ratio("point", "cpu_us", *place) is None


def test_a_target_is_met_or_missed_or_not_measured():
    verdicts = [judge(make_series([10], [theirs]))[0].is_met for theirs in (80, 79)]
    assert verdicts == [True, False]
    assert judge(Series())[0] == Verdict(TARGETS[0].sentence, "≤ 0.125", None, None)


@pytest.mark.parametrize("seed", range(20))
def test_a_body_is_counted_wherever_the_network_cuts_it(seed):
    chunks = [b'{"a":1}\n{"b"', b":2}\n", b"x" * 5000 + b"\r\n"]
    encoded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    cuts = sorted(random.Random(seed).choices(range(len(encoded)), k=seed))
    body = Body()
    for start, end in zip([0, *cuts], [*cuts, len(encoded)], strict=True):
        assert not body.is_complete
        body.feed(encoded[start:end])
    content = b"".join(chunks)
    assert (body.is_complete, body.lines, body.size) == (True, 3, len(content))
    assert body.tail == content[-512:]


@pytest.mark.parametrize("end", [b"", b"0\r\n", b"0\r\n\r"])
def test_a_body_without_its_whole_last_chunk_is_not_complete(end):
    body = Body()
    body.feed(b"3\r\na\nb\r\n" + end)
    assert (body.is_complete, body.lines) == (False, 1)


def test_cells_are_compared_by_value_however_they_are_written():
    rows = read_csv(
        "a,b,c,d\n1.50,t,2026-01-02T03:04:05.6Z,\n1.5,true,2026-01-02 04:04:05.600+01,\n"
    )
    assert rows[0] == rows[1]
    assert read_csv("a\n1.51\n") != read_csv("a\n1.5\n")


@pytest.mark.parametrize("rows", [[[1, "a"]], [[1, "a"], [2, "c"]]], ids=["fewer", "other"])
def test_who_answers_something_else_is_not_measured(rows):
    with pytest.raises(PeerFailed, match="node"):
        compare({"pgsidecar": [[1, "a"], [2, "b"]], "node": rows})


def test_names_of_parameters_become_numbers():
    assert select_user(7).number() == (
        "select id, name, email, created_at, balance from users where id = $1",
        [7],
    )


def test_a_result_survives_its_file(tmp_path):
    result = make_result()
    path = result.write(tmp_path)
    assert path.name == "2026-01-02-0123456789ab.json"
    assert Result.read(path) == result


def test_the_newest_result_is_that_of_the_latest_date(tmp_path):
    make_result(commit="f" * 40, date="2026-01-02T03:04:05+00:00").write(tmp_path)
    make_result(commit="a" * 40, date="2026-01-02T23:04:05+00:00").write(tmp_path)
    newest = find_newest(tmp_path)
    assert newest is not None
    assert newest.commit == "a" * 40


def test_the_page_says_that_there_is_no_result(tmp_path):
    assert "There is no result yet" in "\n".join(render_page(tmp_path))


def test_the_page_has_medians_ratios_targets_and_what_is_missing(tmp_path):
    make_result().write(tmp_path)
    page = "\n".join(render_page(tmp_path))
    assert "| 16 clients | pgsidecar | 10 | 1 |" in page
    assert "| 16 clients | recipe | 90 | 9 |" in page
    assert "Not measured to its end: no such path" in page
    assert "CPU per request by that of recipe | ≤ 0.125 | 0.111 | yes |" in page


def test_the_page_says_that_the_tree_was_dirty(tmp_path):
    make_result(is_dirty=True).write(tmp_path)
    assert "with uncommitted changes" in "\n".join(render_page(tmp_path))


def test_no_lock_names_a_registry():
    node = BENCHMARKS / "peers" / "node"
    packages = json.loads((node / "package-lock.json").read_text())["packages"]
    assert not [name for name, entry in packages.items() if "resolved" in entry]
    assert "omit-lockfile-registry-resolved=true" in (node / ".npmrc").read_text()
    assert "://" not in (BENCHMARKS / "requirements.lock").read_text()
