"""The hand-written documents say what the code says."""

import re
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from proxy import errors
from proxy.api.routes import OPERATIONS_ROUTES, QUERY_ROUTES
from proxy.command.argument import add_arguments
from proxy.command.failure import (
    AGAIN,
    CLOSED_PIPE,
    DONE,
    FAILED,
    REFUSED,
    UNCERTAIN,
    WRONG,
)
from proxy.doctor.finding import KINDS
from proxy.engine.lane_pool import LanePool, PoolLimits
from proxy.engine.profile import UpstreamProfile
from proxy.engine.sqlstate import _STATEMENT
from proxy.errors import ProxyError
from proxy.query.batch_body import EXPECTED_BATCH
from proxy.query.body import EXPECTED, AnswerLimits
from proxy.query.transaction_body import EXPECTED_TRANSACTION
from proxy.stats.events import Event

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
DOCUMENTS = (*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")))
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
PATH_IN_CODE = re.compile(r"\bdocs/[\w./-]+\.md\b")


def read(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def read_first_cells(name: str) -> dict[str, list[str]]:
    """The rows of a page's tables whose first cell is one name in code, by that name."""
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|$", read(name), re.MULTILINE)
    return {key: [cell.strip() for cell in rest.split("|")] for key, rest in rows}


def list_error_classes(parent: type[ProxyError] = ProxyError) -> Iterator[type[ProxyError]]:
    yield parent
    for child in parent.__subclasses__():
        yield from list_error_classes(child)


def list_anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("route", [*QUERY_ROUTES, *OPERATIONS_ROUTES], ids=lambda it: it.path)
def test_every_route_has_a_section(route):
    assert re.search(
        rf"^##+ {route.method} {re.escape(route.path)}$", read("reference/api.md"), re.MULTILINE
    )


@pytest.mark.parametrize("route", [*QUERY_ROUTES, *OPERATIONS_ROUTES], ids=lambda it: it.path)
def test_every_route_is_in_the_table_of_the_readme(route):
    assert f"| `{route.method} {route.path}` |" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_member_of_a_request_is_described():
    members = {
        *EXPECTED,
        *EXPECTED_TRANSACTION,
        *EXPECTED_BATCH,
        *(f"limits.{name}" for name in AnswerLimits.__struct_fields__),
    }
    assert members - {"limits"} <= read_first_cells("reference/api.md").keys()


def test_every_code_of_ours_is_described_with_its_status():
    rows = read_first_cells("reference/errors.md")
    classes = [kind for kind in list_error_classes() if kind is not errors.SqlError]
    described = {kind.code: int(rows[kind.code][0]) for kind in classes if kind.code in rows}
    assert described == {kind.code: kind.status for kind in classes}


def test_every_sqlstate_is_described_with_status_and_retry():
    rows = read_first_cells("reference/errors.md")
    described = {
        state: cells[:2] for state, cells in rows.items() if state.isupper() or state.isdigit()
    }
    assert described == {
        state: [str(verdict.status), "yes" if verdict.is_transient else "no"]
        for state, verdict in _STATEMENT.items()
    }


def test_every_event_is_described():
    assert {event.value for event in Event} <= read_first_cells("reference/statistics.md").keys()


def test_every_option_and_exit_code_of_a_query_is_described():
    parser = ArgumentParser(add_help=False)
    add_arguments(parser)
    page = read("reference/query-command.md")
    options = set(re.findall(r"--[\w-]+", parser.format_help()))
    table = page.partition("## The statement")[0]
    assert options == set(re.findall(r"`(--[\w-]+)`", table))
    codes = {DONE, FAILED, WRONG, REFUSED, AGAIN, UNCERTAIN, CLOSED_PIPE, 130, 143}
    assert codes == {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}


async def test_every_gauge_of_the_pool_is_described():
    limits = PoolLimits(connections=1, waiters=1, checkout_timeout_s=1, idle_s=1)
    pool = LanePool(pytest.fail, limits, lambda *_: None)
    assert pool.gauges().keys() <= read_first_cells("reference/statistics.md").keys()


def test_every_finding_of_the_doctor_is_described_with_its_severity():
    described = {code: cells[0] for code, cells in read_first_cells("reference/doctor.md").items()}
    assert described == {code: kind.severity.name.lower() for code, kind in KINDS.items()} | {
        flag: described[flag] for flag in ("--json", "--replicas N")
    }


def test_every_fact_about_the_upstream_is_described():
    facts = {field.name for field in fields(UpstreamProfile)}
    assert facts <= read_first_cells("reference/statistics.md").keys()


@pytest.mark.parametrize("document", sorted((DOCS / "explanation").glob("*.md")), ids=relative)
def test_every_test_that_an_explanation_names_exists(document):
    named = NAMED_TEST.findall(document.read_text(encoding="utf-8"))
    assert named
    assert [name for path, name in named if f"def {name}(" not in (ROOT / path).read_text()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=relative)
def test_every_link_leads_somewhere(document):
    for path, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        target = document.parent / path if path else document
        assert target.exists(), path
        assert not anchor or anchor in list_anchors(target), anchor


def test_every_page_is_in_the_index():
    linked = {(DOCS / path).resolve() for path, _ in LINK.findall(read("README.md"))}
    pages = {path for path in DOCS.rglob("*.md") if path != DOCS / "README.md"}
    assert linked == pages


def test_every_document_named_in_the_code_exists():
    sources = [*(ROOT / "proxy").rglob("*.py"), *(ROOT / "scripts").glob("*.py")]
    named = {name for path in sources for name in PATH_IN_CODE.findall(path.read_text())}
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("record", sorted((DOCS / "adr").glob("*.md")), ids=relative)
def test_every_decision_has_its_parts(record):
    text = record.read_text(encoding="utf-8")
    parts = (f"# {record.name[:4]} ", "**Status:**", "## Context", "## Decision", "## Consequences")
    assert [part for part in parts if part not in text] == []
