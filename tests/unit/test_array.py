"""Array text as JSON."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.encoders.array import array_encoder
from proxy.encoders.cell import encode_text

encode_strings = array_encoder(encode_text)


@pytest.mark.parametrize(
    ("text", "array"),
    [
        (b"{}", []),
        (b"{a}", ["a"]),
        (b"{a,b}", ["a", "b"]),
        (b"{NULL,null_,nULL!}", [None, "null_", "nULL!"]),
        (b'{"NULL",NULL,"null"}', ["NULL", None, "null"]),
        (b'{""}', [""]),
        (b'{"a b","{","}",",","["}', ["a b", "{", "}", ",", "["]),
        (rb'{"a\"b","c\\d","\\\\"}', ['a"b', "c\\d", "\\\\"]),
        (b'{"a\nb"}', ["a\nb"]),
        (b"{;,=,[}", [";", "=", "["]),
        (b"{{a,b},{NULL,d}}", [["a", "b"], [None, "d"]]),
        (b"[0:1]={a,b}", ["a", "b"]),
        (b'[1:1][-2:-1]={{a,"="}}', [["a", "="]]),
        ("{é,😀}".encode(), ["é", "😀"]),
    ],
)
def test_array_text_becomes_a_json_array(text, array):
    assert orjson.loads(encode_strings(text)) == array


def test_the_delimiter_of_boxes_separates():
    encode = array_encoder(encode_text, ";")
    assert encode(b"{(1,1),(0,0);NULL}") == b'["(1,1),(0,0)",null]'


def test_elements_go_through_their_own_encoder_unescaped():
    assert array_encoder(bytes.upper)(rb'{"\"a\"",b}') == b'["A",B]'


def test_many_dimensions_need_no_recursion():
    assert encode_strings(b"{" * 50_000 + b"}" * 50_000) == b"[" * 50_000 + b"]" * 50_000


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_quoted_elements_come_back_as_they_were(array):
    quoted = (
        "NULL" if item is None else '"' + item.replace("\\", "\\\\").replace('"', '\\"') + '"'
        for item in array
    )
    assert orjson.loads(encode_strings(f"{{{','.join(quoted)}}}".encode())) == array
