"""The body of a batch, and what its sets of values become."""

import re

import pytest
from msgspec.json import encode

from proxy.errors import InvalidRequest
from proxy.query.batch_body import parse_batch, to_batch
from proxy.query.models import QueryLimits

LIMITS = QueryLimits(rows=100, bytes=1000, timeout_s=1, timeout_max_s=5, sql_bytes=1000)


def read(*statements, **members):
    return to_batch(parse_batch(encode({"statements": statements, **members})), LIMITS, 10)


def list_sets(statement):
    return [tuple(values) for values in read(statement).statements[0].sets]


def test_params_are_the_only_set():
    assert list_sets({"sql": "select $1", "params": [1]}) == [(b"1",)]
    assert list_sets({"sql": "select 1"}) == [()]


def test_each_set_of_an_array_has_its_values():
    statement = {"sql": "select $1, $2", "param_sets": [[1, "a"], [None, "b"]]}
    assert list_sets(statement) == [(b"1", b"a"), (None, b"b")]


def test_each_set_of_an_object_is_brought_into_order():
    statement = {"sql": "select :b, :a", "param_sets": [{"a": 1, "b": 2}, {"b": 4, "a": 3}]}
    assert list_sets(statement) == [(b"2", b"1"), (b"4", b"3")]


def test_shared_members_hold_for_every_statement():
    batch = read({"sql": "select 1"}, {"sql": "select 2"}, read_only=True, timeout_ms=500)
    assert [each.query.read_only for each in batch.statements] == [True, True]
    assert batch.first.timeout_s == 0.5


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        ([[1], {"a": 1}], "param_sets[1]: the first one is of the other kind"),
        ([[1], [1], [1, 2]], "param_sets[2]: not as many values"),
        ([[1], []], "param_sets[1]: not as many values"),
        ([[1], [{"$bytea": "AA=="}]], "param_sets[1]: not as many values"),
        ([[1], [{"$bytea": "secret"}]], "param_sets[1]: parameter $1 is no bytea"),
    ],
)
def test_a_set_that_does_not_fit_is_named_by_its_number(sets, sentence):
    with pytest.raises(InvalidRequest, match=re.escape(sentence)) as caught:
        read({"sql": "select 1"}, {"sql": "select $1", "param_sets": sets})
    assert caught.value.context["statement_index"] == 1
    assert "secret" not in caught.value.detail


@pytest.mark.parametrize(
    ("sets", "sentence"),
    [
        ([{"a": 1}, [1]], "param_sets[1]: the first one is of the other kind"),
        ([{"a": 1}, {"b": 1}], "param_sets[1]: params has no member for :a"),
        ([{"a": 1}, {"a": 1, "b": 1}], "param_sets[1]: sql has no parameter :b"),
    ],
)
def test_a_named_set_that_does_not_fit_is_named_by_its_number(sets, sentence):
    with pytest.raises(InvalidRequest, match=re.escape(sentence)):
        read({"sql": "select :a", "param_sets": sets})


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ({"sql": "x", "param_set": []}, "^unknown member 'param_set'; did you mean 'param_sets'"),
        ({"sql": "x", "zzz": 1}, "^unknown member 'zzz'$"),
        ({"sql": "x", "limits": {}}, "limits can't stand in .*; put it beside statements"),
        ({"params": [1]}, "the member 'sql' is missing"),
        ({"sql": "x", "rows": "secret"}, r"statements must be .*\(at statements\[0\].rows\)"),
    ],
)
def test_a_wrong_member_of_a_statement_is_refused_with_the_remedy(statement, sentence):
    with pytest.raises(InvalidRequest, match=sentence) as caught:
        read(statement)
    assert "secret" not in caught.value.detail
