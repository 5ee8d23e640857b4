"""Exit codes of `pgsidecar query`, and what it says."""

import orjson
import pytest

from proxy.command.failure import Problem, choose_code, describe_problem, read_problem


def problem(status=400, executed="no", sqlstate=None, *, retryable=False, **others):
    return Problem(
        title="title",
        status=status,
        detail="detail",
        executed=executed,
        retryable=retryable,
        sqlstate=sqlstate,
        **others,
    )


@pytest.mark.parametrize(
    ("code", "given"),
    [
        (1, problem(400, sqlstate="42601")),
        (1, problem(403, sqlstate="42501")),
        (1, problem(499)),
        (1, problem(500)),
        (2, problem(400)),
        (2, problem(404)),
        (2, problem(409)),
        (2, problem(413)),
        (3, problem(401)),
        (3, problem(403)),
        (3, problem(502, sqlstate="28P01")),
        (4, problem(409, sqlstate="40001", retryable=True)),
        (4, problem(429, retryable=True)),
        (4, problem(503, retryable=True)),
        (4, problem(504)),
        (5, problem(413, "yes")),
        (5, problem(503, "unknown")),
        (5, problem(504, "unknown", "57014")),
    ],
)
def test_the_exit_code_tells_the_class_of_a_problem(code, given):
    assert choose_code(given) == code


def test_everything_that_the_problem_tells_has_its_line():
    given = problem(
        sqlstate="42703", position=8, hint="try\nthis", pg_detail="\x1b[31m", request_id="7"
    )
    assert describe_problem(given).lines == (
        "title: detail",
        "detail: \\x1b[31m",
        "hint: try\\nthis",
        "sqlstate: 42703",
        "position: 8",
        "executed: no",
        "retryable: no",
        "request_id: 7",
    )


@pytest.mark.parametrize(("status", "code"), [(404, 2), (401, 3), (403, 3), (500, 5), (502, 5)])
@pytest.mark.parametrize("body", [b"<html>", b"{}", orjson.dumps({"title": 7})])
def test_an_answer_of_somebody_else_is_told(status, code, body):
    failure = read_problem(status, body)
    assert failure.code == code
    assert "does pgsidecar answer there?" in failure.lines[0]
