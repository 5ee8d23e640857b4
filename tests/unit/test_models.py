"""Bodies of requests, and the queries that come of them."""

import re

import pytest
from msgspec.json import encode

from proxy.encoders.row_encoder import RowShape
from proxy.errors import Forbidden, InvalidRequest, RequestTooLarge
from proxy.query.body import parse_body, parse_text
from proxy.query.models import QueryLimits, to_query

LIMITS = QueryLimits(
    rows=100,
    bytes=1000,
    timeout_s=30,
    timeout_max_s=60,
    sql_bytes=50,
    allowed_settings=("app.*", "search_path"),
)


def query(**members):
    return to_query(parse_body(encode({"sql": "select 1", **members})), LIMITS)


def test_only_sql_is_required():
    result = query()
    assert (result.sql, result.values, result.oids) == (b"select 1", (), ())
    assert result.shape == RowShape("objects", "number", "string")
    assert (result.max_rows, result.max_bytes, result.on_exceed) == (100, 1000, "error")
    assert (result.timeout_s, result.settings) == (30, {})


def test_every_member_reaches_the_query():
    result = query(
        params=[1, "a"],
        types=["int4"],
        rows="arrays",
        int8="string",
        numeric="number",
        limits={"rows": 5, "bytes": 7, "on_exceed": "truncate"},
        timeout_ms=1500,
        settings={"app.tenant": "7"},
    )
    assert (result.values, result.oids) == ((b"1", b"a"), (23, 0))
    assert result.shape == RowShape("arrays", "string", "number")
    assert (result.max_rows, result.max_bytes, result.on_exceed) == (5, 7, "truncate")
    assert (result.timeout_s, result.settings) == (1.5, {"app.tenant": "7"})


def test_a_request_cannot_raise_the_limits():
    result = query(limits={"rows": 101, "bytes": 10**30})
    assert (result.max_rows, result.max_bytes) == (100, 1000)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", "the body is not valid JSON: it ends too early, or .* pair \\(byte 0\\)"),
        (b'{"sql":"x', "it ends too early.* \\(byte 9\\)"),
        (b'{"sql":x}', "the body is not valid JSON: invalid character \\(byte 7\\)"),
        (b'{"sql":"x","params":["secret",01]}', "invalid number \\(byte 31\\)"),
        (b'{"sql":"\\ud800"}', "half of a surrogate pair"),
        (b'{"sql":"x","params":["\\ud800"]}      ', "hex escape|surrogate pair"),
        (b'{"sql":"x","params":["\xff"]}', "the body is not UTF-8 \\(byte 22\\)"),
        (b"[]", "the body must be a JSON object"),
        (b"{}", "the member 'sql' is missing"),
        (b'{"sql":1}', "^sql must be the statement, a string$"),
        (b'{"sql":" \\n"}', "sql is empty"),
        (b'{"sql":"select 1\\u0000"}', "sql contains a NUL character"),
        (b'{"sql":"x","params":"secret"}', "params must be an array with the values of"),
        (b'{"sql":"x","types":["int4",1]}', "types must be .* \\(at types\\[1\\]\\)"),
        (b'{"sql":"x","rows":"secret"}', '^rows must be "objects" or "arrays"$'),
        (b'{"sql":"x","int8":"secret"}', '^int8 must be "number" or "string"$'),
        (b'{"sql":"x","numeric":1}', '^numeric must be "string" or "number"$'),
        (b'{"sql":"x","limits":{"rows":0}}', "limits must be .* \\(at limits.rows\\)"),
        (b'{"sql":"x","limits":{"row":1}}', "unknown member 'row'; did you mean 'rows'\\?"),
        (b'{"sql":"x","limits":{"int8":1}}', "^unknown member 'int8'$"),
        (b'{"sql":"x","timeout_ms":1.5}', "timeout_ms must be a whole number"),
        (b'{"sql":"x","timeout_ms":0}', "timeout_ms must be a whole number"),
        (b'{"sql":"x","timeout_ms":true}', "timeout_ms must be a whole number"),
        (b'{"sql":"x","timeout_ms":%s}' % (b"9" * 5000), "timeout_ms must be a whole number"),
        (b'{"sql":"x","settings":{"a":1}}', "settings must be an object"),
        (b'{"sql":"x","paramz":["secret"]}', "^unknown member 'paramz'; did you mean 'params'\\?$"),
        (b'{"sql":"x","zzz":1}', "^unknown member 'zzz'$"),
        (b'{"sql":"x","params":' + b"[" * 100_000, "nested too deeply"),
        (b'{"sql":"x","params":[' + b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_a_wrong_body_is_refused_with_its_place_and_without_values(body, detail):
    with pytest.raises(InvalidRequest, match=detail) as caught:
        parse_body(body)
    assert "secret" not in caught.value.detail


def test_a_long_unknown_name_is_cut():
    with pytest.raises(InvalidRequest) as caught:
        parse_body(encode({"sql": "x", "a" * 100_000: 1}))
    assert len(caught.value.detail) < 100


def test_a_timeout_over_the_ceiling_is_refused_with_the_ceiling():
    assert query(timeout_ms=60_000).timeout_s == 60
    with pytest.raises(InvalidRequest, match=r"ceiling of 60000 \(limits.timeout_max_s\)"):
        query(timeout_ms=60_001)


def test_a_statement_over_the_limit_is_too_large_by_its_bytes():
    assert query(sql="x" * 50).sql == b"x" * 50
    with pytest.raises(RequestTooLarge, match=r"52 bytes, limits.sql_bytes allows 50"):
        query(sql="é" * 26)


@pytest.mark.parametrize("name", ["role", "work_mem", "app.x; drop", "client_encoding"])
def test_a_setting_that_is_not_allowed_is_forbidden(name):
    with pytest.raises(Forbidden, match=f"'{name}'.*session.allowed_settings") as caught:
        query(settings={name: "secret"})
    assert "secret" not in caught.value.detail


def test_nul_in_a_setting_is_refused_without_its_value():
    with pytest.raises(InvalidRequest, match=r"settings\.app\.x contains a NUL") as caught:
        query(settings={"app.x": "secret\0"})
    assert "secret" not in caught.value.detail


def test_more_than_fifty_settings_are_refused():
    assert len(query(settings={f"app.x{n}": "" for n in range(50)}).settings) == 50
    with pytest.raises(InvalidRequest, match="settings has 51 members; at most 50"):
        query(settings={f"app.x{n}": "" for n in range(51)})


def test_a_bare_statement_takes_string_parameters_from_the_query_string():
    body = parse_text(b"select $1, $2", [("p", "1"), ("p", 'a"b')])
    assert to_query(body, LIMITS).values == (b"1", b'a"b')


def test_a_bare_statement_takes_options_from_the_query_string():
    options = [("rows", "arrays"), ("int8", "string"), ("numeric", "number"), ("timeout_ms", "5")]
    result = to_query(parse_text("select 'é'".encode(), options), LIMITS)
    assert result.sql == "select 'é'".encode()
    assert result.shape == RowShape("arrays", "string", "number")
    assert result.timeout_s == 0.005


@pytest.mark.parametrize(
    ("sql", "options", "detail"),
    [
        (b"x", [("row", "arrays")], "^unknown query parameter 'row'; did you mean 'rows'\\?$"),
        (b"x", [("settings", "a")], "unknown query parameter 'settings'"),
        (b"x", [("rows", "secret")], '^rows must be "objects" or "arrays"$'),
        (b"x", [("timeout_ms", "secret")], "timeout_ms must be a whole number"),
        (b"x", [("p", "\udcff")], "the query string is not UTF-8"),
        (b"select \xff", [], "the statement is not UTF-8 \\(byte 7\\)"),
        (b"\0", [], "sql contains a NUL"),
        (b"  ", [], "sql is empty"),
    ],
)
def test_a_wrong_bare_statement_is_refused(sql, options, detail):
    with pytest.raises(InvalidRequest, match=detail) as caught:
        parse_text(sql, options)
    assert "secret" not in caught.value.detail


def test_nul_in_a_query_string_parameter_is_refused():
    with pytest.raises(InvalidRequest, match=r"parameter \$1 contains \\u0000"):
        to_query(parse_text(b"select $1", [("p", "a\0")]), LIMITS)


def test_named_parameters_become_numbered_ones():
    result = query(sql="select :a, :b, :a", params={"b": 2, "a": 1})
    assert result.sql == b"select $1, $2, $1"
    assert result.values == (b"1", b"2")
    assert result.find_position(12) == 12


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"sql": "select :a, $1", "params": {"a": 1}}, "use one kind"),
        ({"sql": "select :a", "params": {}}, "no member for :a"),
        ({"sql": "select :abc", "params": {"abc": 1, "abd": 2}}, "no parameter :abd; did you mean"),
        ({"sql": "select :a", "params": {"a": 1}, "types": ["int4"]}, "write :name::type"),
    ],
)
def test_named_parameters_that_do_not_fit_are_refused(members, sentence):
    with pytest.raises(InvalidRequest, match=re.escape(sentence)):
        query(**members)


def test_a_role_must_be_allowed():
    with pytest.raises(Forbidden, match=r"session\.allowed_roles"):
        query(role="postgres")


def test_options_say_that_something_travels_in_front():
    assert not query().has_options
    assert query(settings={"app.x": "1"}).has_options
    assert not query(settings={"app.x": "1"}).is_protected
    assert query(read_only=True).is_protected
    assert query(isolation="serializable").is_protected
    assert query(dry_run=True).is_protected
