"""Saved queries: what a file may hold, and what becomes of a request's parameters."""

import pytest
from msgspec.json import encode

from proxy.errors import Forbidden, InvalidRequest
from proxy.query.models import QueryLimits
from proxy.query.saved import parse_saved
from proxy.query.saved_request import parse_saved_body, parse_saved_string, to_saved_query

LIMITS = QueryLimits(
    rows=100,
    bytes=1000,
    timeout_s=30,
    timeout_max_s=60,
    sql_bytes=500,
    allowed_roles=("clerk", "boss"),
)
TWO = "-- param: least numeric = 10\n-- param: id int4\n-- read_only: true\n-- roles: clerk\n"
SAVED = parse_saved(TWO + "select :id, :least, :id", "two")
VALUES = (
    "-- param: ids int4[]\n-- param: doc jsonb\n-- param: docs json[]\n-- param: rows text = null\n"
)
TYPED = parse_saved(VALUES + "select :ids, :doc, :docs, :rows", "typed")


def post(body, saved=SAVED):
    return to_saved_query(saved, parse_saved_body(encode(body)), LIMITS)


def get(*pairs, saved=SAVED):
    return to_saved_query(saved, parse_saved_string(saved, pairs), LIMITS)


def refusal(run, *args, **kwargs):
    with pytest.raises(InvalidRequest) as caught:
        run(*args, **kwargs)
    return caught.value.detail


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("-- name: a\n", "it holds no statement"),
        ("", "it holds no statement"),
        ("select 1; select 2", "it holds more than one statement"),
        ("select $1", "a parameter by number, such as $1"),
        ("-- param: id int4\nselect :id, $1", "a parameter by number, such as $1"),
        ("-- param: id int4\nselect :idd", "no line `-- param: idd type` at its top; did you mean"),
        ("-- param: id int4\nselect 1", "its statement has no :id for the param of that name"),
        ("select 'a\0'", "it contains a NUL character"),
    ],
)
def test_a_file_that_can_not_run_is_a_mistake(text, sentence):
    with pytest.raises(ValueError, match=r"statement|NUL") as caught:
        parse_saved(text, "stem")
    assert sentence in str(caught.value)


def test_parameters_travel_in_the_order_of_the_statement_with_their_types():
    query = post({"params": {"id": 7, "least": "1.5"}})
    assert query.sql == b"select $1, $2, $1"
    assert (query.values, query.oids) == ((b"7", b"1.5"), (23, 1700))


def test_a_default_stands_in_for_a_parameter_that_is_not_given():
    assert post({"params": {"id": 7}}).values == (b"7", b"10")
    assert post({"params": {"id": None, "least": None}}).values == (None, None)


def test_options_of_a_body_reach_the_query():
    query = post(
        {
            "params": {"id": 1},
            "rows": "arrays",
            "limits": {"rows": 5},
            "timeout_ms": 7,
            "role": "clerk",
        }
    )
    assert (query.shape.rows, query.max_rows, query.timeout_s) == ("arrays", 5, 0.007)
    assert (query.role, query.read_only) == ("clerk", True)


def test_options_stand_in_the_query_string_too():
    query = get(("id", "1"), ("rows", "arrays"), ("timeout_ms", "7"), ("role", "clerk"))
    assert (query.shape.rows, query.timeout_s, query.role) == ("arrays", 0.007, "clerk")


def test_position_counts_in_the_statement_of_the_file():
    assert post({"params": {"id": 1}}).find_position(len("select $1, $")) == len("select :id, :")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"params": {"idd": 1}}, "two has no parameter 'idd'; did you mean 'id'?"),
        ({}, "the parameter 'id' (int4) is missing"),
        ({"params": {"id": "\0"}}, "the parameter 'id' (int4) contains \\u0000"),
        ({"params": [1]}, "params must be an object with the values of the parameters, by name"),
        ({"parms": {}}, "unknown member 'parms'; did you mean 'params'?"),
        ({"settings": {"search_path": "x"}}, "unknown member 'settings'"),
        ({"sql": "select 1"}, "unknown member 'sql'"),
        ({"limits": {"row": 1}}, "unknown member 'row'; did you mean 'rows'?"),
        ([], "the body must be a JSON object"),
    ],
)
def test_mistake_in_a_body_is_named(body, sentence):
    assert sentence in refusal(post, body)


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ([("idd", "1")], "two has no parameter 'idd'; did you mean 'id'?"),
        ([], "the parameter 'id' (int4) is missing"),
        ([("id", "1"), ("id", "2")], "the parameter 'id' (int4) is given more than once"),
        ([("id", "1"), ("rows", "x")], 'rows must be "objects" or "arrays"'),
        ([("id", "1"), ("rows", "arrays"), ("rows", "arrays")], "'rows' is given more than once"),
        ([("id", "1"), ("timeout_ms", "99999999")], "timeout_ms is over the ceiling"),
    ],
)
def test_mistake_in_a_query_string_is_named(pairs, sentence):
    assert sentence in refusal(get, *pairs)


def test_a_role_must_be_one_of_the_file():
    with pytest.raises(Forbidden, match="two may not run as 'boss'; its file lists"):
        post({"params": {"id": 1}, "role": "boss"})


def test_a_role_of_the_file_must_be_open_to_requests_as_well():
    saved = parse_saved("-- roles: root\nselect 1", "a")
    with pytest.raises(Forbidden, match=r"session\.allowed_roles"):
        post({"role": "root"}, saved)


def test_a_file_that_lists_no_roles_leaves_them_to_the_configuration():
    assert post({"role": "boss"}, parse_saved("select 1", "a")).role == "boss"


def test_an_array_has_an_element_for_each_time_that_its_name_is_there():
    query = get(("doc", "{}"), ("ids", "1"), ("ids", "2"), ("docs", '{"a": 1}'), saved=TYPED)
    assert query.values == (b'{"1","2"}', b"{}", b'{"{\\"a\\": 1}"}', None)


def test_a_parameter_comes_before_an_option_of_its_name():
    query = get(("ids", "1"), ("doc", "1"), ("docs", "1"), ("rows", "few"), saved=TYPED)
    assert (query.values[3], query.shape.rows) == (b"few", "objects")


def test_a_json_parameter_in_a_query_string_is_json():
    pairs = [("ids", "1"), ("docs", "1"), ("doc", "nope")]
    assert "the parameter 'doc' (jsonb) is not JSON" in refusal(get, *pairs, saved=TYPED)


def test_json_that_is_nested_without_end_is_refused():
    pairs = [("ids", "1"), ("docs", "1"), ("doc", "[" * 100_000)]
    assert "the parameter 'doc' (jsonb) is not JSON" in refusal(get, *pairs, saved=TYPED)
