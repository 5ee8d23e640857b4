"""What an answer means: the cases that no guard lets through, and what `executed` says."""

import pytest
from msgspec.json import encode

from proxy.errors import (
    DeadlineExceeded,
    Draining,
    InvalidRequest,
    ProxyError,
    SqlError,
    StatementNotAllowed,
    UpstreamUnavailable,
)
from proxy.query.body import parse_body
from proxy.query.models import QueryLimits, to_query
from proxy.query.verdict import check_answer, correct_executed
from proxy.wire.answer import Answer, Discard
from proxy.wire.messages import ServerMessage

LIMITS = QueryLimits(rows=10, bytes=1024, timeout_s=1, timeout_max_s=1, sql_bytes=1024)
FAILED = ServerMessage("ERROR", "42703", "no", position=21)
COMMITTING = ["call p()", "do $$ begin commit; end $$", "vacuum"]


def make_query(sql="select 1", **members):
    return to_query(parse_body(encode({"sql": sql, **members})), LIMITS)


def judge(query=None, **parts):
    check_answer(Answer(Discard(), **parts), query or make_query())


def test_ready_for_query_without_an_error_is_a_success():
    judge(tag=b"SELECT 1\0")


@pytest.mark.parametrize("direction", ["in", "out"])
def test_a_copy_that_no_guard_saw_is_refused(direction):
    with pytest.raises(StatementNotAllowed, match="COPY"):
        judge(copy=direction)


def test_an_empty_query_that_no_guard_saw_is_refused():
    with pytest.raises(InvalidRequest, match="no statement"):
        judge(is_empty=True)


@pytest.mark.parametrize("status", ["T", "E"])
def test_a_transaction_that_no_guard_saw_is_refused(status):
    with pytest.raises(StatementNotAllowed, match="rolled back"):
        judge(tag=b"BEGIN\0", status=status)


def test_a_commit_that_was_answered_by_rollback_is_an_error_at_commit():
    with pytest.raises(ProxyError, match="COMMIT") as failure:
        judge(tag=b"INSERT 0 1\0", end_tag=b"ROLLBACK\0")
    assert (failure.value.phase, failure.value.executed) == ("commit", "no")


def test_the_rollback_of_a_dry_run_is_its_success():
    judge(make_query(dry_run=True), tag=b"INSERT 0 1\0", end_tag=b"ROLLBACK\0")


def test_a_commit_is_a_success():
    judge(make_query(read_only=True), tag=b"SELECT 1\0", end_tag=b"COMMIT\0")


def test_an_error_after_the_tag_is_one_of_the_commit():
    with pytest.raises(SqlError) as failure:
        judge(error=FAILED, tag=b"INSERT 0 1\0", is_commit_error=True)
    assert (failure.value.phase, failure.value.executed) == ("commit", "no")


def test_the_position_of_an_error_is_that_of_the_sql_as_sent():
    sql = "select :long_name, 1, nope"  # as $1, which is 8 characters shorter
    query = make_query(sql, params={"long_name": 1})
    with pytest.raises(SqlError) as failure:
        judge(query, error=FAILED)
    assert failure.value.context["position"] == 21 + 8


def test_an_error_in_the_settings_has_no_position():
    with pytest.raises(SqlError, match=r"^settings: no$") as failure:
        judge(error=FAILED, is_prefix_error=True)
    assert "position" not in failure.value.context


@pytest.mark.parametrize("sql", COMMITTING)
def test_a_failed_statement_may_have_committed_on_its_way(sql):
    with pytest.raises(SqlError) as failure:
        judge(make_query(sql), error=FAILED)
    assert failure.value.executed == "unknown"


def test_a_statement_whose_settings_failed_has_done_nothing():
    with pytest.raises(SqlError) as failure:
        judge(make_query("call p()"), error=FAILED, is_prefix_error=True)
    assert failure.value.executed == "no"


@pytest.mark.parametrize("kind", [DeadlineExceeded, Draining])
@pytest.mark.parametrize("sql", COMMITTING)
def test_a_cancelled_statement_may_have_committed_on_its_way(kind, sql):
    error = kind("late", phase="execute", executed="no")
    correct_executed(error, make_query(sql))
    assert error.executed == "unknown"


def test_any_other_cancelled_statement_has_done_nothing():
    error = DeadlineExceeded("late", phase="execute", executed="no")
    correct_executed(error, make_query())
    assert error.executed == "no"


@pytest.mark.parametrize(
    "error",
    [
        Draining("no", phase="queue"),
        DeadlineExceeded("late", phase="queue"),
        UpstreamUnavailable("away", phase="execute", executed="no"),
    ],
)
def test_what_was_never_sent_was_never_executed(error):
    correct_executed(error, make_query("do $$ begin commit; end $$"))
    assert error.executed == "no"


@pytest.mark.parametrize("executed", ["yes", "unknown"])
def test_what_is_known_is_left_as_it_is(executed):
    error = DeadlineExceeded("late", phase="execute", executed=executed)
    correct_executed(error, make_query("vacuum"))
    assert error.executed == executed
