"""JSON parameters as Postgres text."""

import base64
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import decode

from proxy.encoders.array import array_encoder
from proxy.encoders.cell import encode_text
from proxy.errors import InvalidRequest
from proxy.query.params import did_you_mean, encode_params


def encode_one(text, type_name=None):
    """Encode one parameter, given as the JSON text of a request."""
    raws = decode(b"[" + text.encode() + b"]", type=list[Raw])
    encoded = encode_params(raws, [type_name])
    return encoded.values[0], encoded.oids[0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("true", b"true"),
        ("false", b"false"),
        ("0", b"0"),
        ("-1.10", b"-1.10"),
        ("1e999", b"1e999"),
        ("123456789012345678901234567890", b"123456789012345678901234567890"),
        ('""', b""),
        ('"null"', b"null"),
        (r'"a\"b\\\n\u00e9\ud83d\ude00"', 'a"b\\\né😀'.encode()),
        ('"é"', "é".encode()),
        ("[]", b"{}"),
        ("[1, null, 2.50]", b"{1, NULL, 2.50}"),
        ("[[1],[2]]", b"{{1},{2}}"),
        ("[true,false]", b"{true,false}"),
        ('["null", null, ""]', b'{"null", NULL, ""}'),
        ('["[", "{", "]", ","]', b'{"[", "{", "]", ","}'),
        (r'["a\"b", "c\\d", "e\/f"]', rb'{"a\"b", "c\\d", "e/f"}'),
        ('{"a": 1.10}', b'{"a": 1.10}'),
        ("{}", b"{}"),
        ('[1, {"a": []}]', b'[1, {"a": []}]'),
        ('[[[{"a": "}"}]]]', b'[[[{"a": "}"}]]]'),
        ('{"$json": "a"}', b'"a"'),
        ('{"$json": [1, 2]}', b"[1, 2]"),
        ('{"$json": {"$json": 1}}', b'{"$json": 1}'),
        ('{"$json": null}', None),
        ('{"$json": 1, "b": 2}', b'{"$json": 1, "b": 2}'),
    ],
)
def test_an_untyped_value_becomes_postgres_text(text, value):
    assert encode_one(text) == (value, 0)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None),
        ("true", b"true"),
        ('"a"', b'"a"'),
        ("1.10", b"1.10"),
        ("[]", b"[]"),
        ("[1, null]", b"[1, null]"),
        ('{"a": 1}', b'{"a": 1}'),
        ('{"$json": [1]}', b"[1]"),
        ('{"$bytea": "YQ=="}', b'{"$bytea": "YQ=="}'),
    ],
)
@pytest.mark.parametrize(("type_name", "oid"), [("json", 114), ("jsonb", 3802)])
def test_a_json_type_takes_every_value_but_null_as_its_text(text, value, type_name, oid):
    assert encode_one(text, type_name) == (value, oid)


@pytest.mark.parametrize("type_name", ["json[]", "jsonb[]"])
def test_elements_of_json_arrays_are_documents(type_name):
    text = r'[{"a": "\\"}, null, "x", [1, null], 2]'
    value, _ = encode_one(text, type_name)
    assert value == rb'{"{\"a\": \"\\\\\"}",NULL,"\"x\"","[1, null]","2"}'


def test_arrays_of_boxes_get_their_own_delimiter():
    assert encode_one('["(1,1),(0,0)", null]', "box[]") == (b'{"(1,1),(0,0)"; NULL}', 1020)


def test_a_named_type_becomes_its_oid():
    assert encode_one('["a"]', "text[]") == (b'{"a"}', 1009)


def test_missing_types_are_inferred():
    encoded = encode_params(decode(b'[1,"a",2]', type=list[Raw]), ["int8"])
    assert (encoded.values, encoded.oids) == ((b"1", b"a", b"2"), (20, 0, 0))


def test_bytea_is_forced():
    assert encode_one('{"$bytea": "AP9h"}') == (b"\\x00ff61", 17)


@pytest.mark.parametrize("wrapped", ['"YQ"', '"Y Q=="', '"YQ==YQ=="', '"é"', "1", "null", "{}"])
def test_wrong_base64_is_refused_with_the_parameters_number(wrapped):
    with pytest.raises(InvalidRequest, match=r"parameter \$1 .* base64 with padding"):
        encode_one(f'{{"$bytea": {wrapped}}}')


@pytest.mark.parametrize("text", [r'"secret\u0000"', r'[["secret\u0000"]]'])
def test_nul_is_refused_with_the_parameters_number_and_without_its_value(text):
    with pytest.raises(InvalidRequest, match=r"parameter \$1 contains \\u0000") as caught:
        encode_one(text)
    assert "secret" not in caught.value.detail


def test_an_escaped_backslash_before_u0000_is_no_nul():
    assert encode_one(r'"\\u0000"') == (rb"\u0000", 0)


def test_an_unknown_type_names_the_remedy():
    raws = decode(b"[1,2]", type=list[Raw])
    with pytest.raises(InvalidRequest) as caught:
        encode_params(raws, [None, "mood"])
    assert caught.value.detail == (
        "types[1]: unknown type 'mood'; for your own types write $2::mood in the statement"
    )


def test_a_misspelt_type_names_the_nearest_one():
    with pytest.raises(InvalidRequest, match=r"did you mean 'timestamptz'\?$"):
        encode_one("1", "timestampz")


def test_more_types_than_parameters_are_refused():
    with pytest.raises(InvalidRequest, match="types has 1 entries for 0 parameters"):
        encode_params([], ["int4"])


def test_more_parameters_than_fit_are_refused():
    raws = [Raw(b"1")] * 32768
    assert len(encode_params(raws[:-1], []).values) == 32767
    with pytest.raises(InvalidRequest, match="32768 parameters are more than"):
        encode_params(raws, [])


@pytest.mark.parametrize("type_name", [None, "jsonb[]"])
@pytest.mark.parametrize("opening", [b'{"a":', b'{"$json":'])
def test_a_deeply_nested_object_is_refused(opening, type_name):
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        encode_params([Raw(opening * 100_000 + b"1" + b"}" * 100_000)], [type_name])


def test_a_deeply_nested_array_is_left_to_the_server():
    encoded = encode_params([Raw(b"[" * 100_000 + b"]" * 100_000)], [])
    assert encoded.values == (b"{" * 100_000 + b"}" * 100_000,)


def test_a_deeply_nested_json_array_is_refused():
    with pytest.raises(InvalidRequest, match="nested too deeply"):
        encode_params([Raw(b"[" * 100_000 + b"]" * 100_000)], ["jsonb[]"])


def test_nothing_is_suggested_for_a_name_like_none():
    assert did_you_mean("zzz", ["params"]) == ""


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
NUMBER = st.from_regex(
    r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?", fullmatch=True
)


@given(TEXT, st.booleans())
def test_any_text_arrives_as_it_is(text, ascii_only):
    assert encode_one(json.dumps(text, ensure_ascii=ascii_only)) == (text.encode(), 0)


@given(NUMBER)
def test_any_number_keeps_its_digits(number):
    assert encode_one(number) == (number.encode(), 0)
    assert encode_one(f"[{number}]") == (f"{{{number}}}".encode(), 0)


@given(st.binary())
def test_any_bytes_arrive_as_hex(data):
    wrapped = json.dumps({"$bytea": base64.b64encode(data).decode()})
    assert encode_one(wrapped) == (b"\\x" + data.hex().encode(), 17)


NESTED = st.recursive(st.none() | TEXT, st.lists, max_leaves=20)


@given(st.lists(NESTED), st.booleans())
def test_an_array_literal_reads_back_as_the_array(array, ascii_only):
    compact = json.dumps(array, ensure_ascii=ascii_only, separators=(",", ":"))
    literal, _ = encode_one(compact)
    assert orjson.loads(array_encoder(encode_text)(literal)) == array
