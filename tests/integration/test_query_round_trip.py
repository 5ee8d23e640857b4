"""What is sent as a parameter comes back equal, for every type of parameter."""

from base64 import b64encode
from struct import pack, unpack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fixtures.service import Client

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
FLOAT = st.floats(allow_nan=False, allow_infinity=False)
INT4 = st.integers(-(2**31), 2**31 - 1)
EXACT = st.floats(-(2.0**53), 2.0**53)  # jsonb tells larger ones in full, as integers
DOCUMENT = st.recursive(
    st.none() | st.booleans() | INT4 | EXACT | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


def nested(element):
    """Make arrays of one to three dimensions, with NULLs in them."""

    def build(sizes):
        array = st.none() | element
        for size in sizes:
            array = st.lists(array, min_size=size, max_size=size)
        return array

    sizes = st.lists(st.integers(1, 3), min_size=1, max_size=3)
    return st.just([]) | sizes.flatmap(build)


VALUES = {
    "bool": st.booleans(),
    "int2": st.integers(-(2**15), 2**15 - 1),
    "int4": INT4,
    "int8": st.integers(-(2**63), 2**63 - 1),
    "float8": FLOAT,
    "numeric": st.decimals(allow_nan=False, allow_infinity=False, places=30).map("{:f}".format),
    "text": TEXT,
    "date": st.dates().map(str),
    "uuid": st.uuids().map(str),
    "json": DOCUMENT,
    "jsonb": DOCUMENT,
    "bool[]": nested(st.booleans()),
    "int4[]": nested(INT4),
    "float8[]": nested(FLOAT),
    "text[]": nested(TEXT),
    "jsonb[]": st.lists(st.none() | st.dictionaries(TEXT, DOCUMENT, max_size=2)),
}


@pytest.mark.parametrize("kind", VALUES)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
async def test_a_value_comes_back_as_it_was_sent(shared_client: Client, kind, data):
    value = data.draw(VALUES[kind])
    assert await shared_client.value("select $1", value, types=[kind]) == value


@settings(deadline=None, max_examples=60)
@given(value=st.floats(width=32, allow_nan=False, allow_infinity=False))
async def test_a_float4_comes_back_as_the_same_float4(shared_client: Client, value):
    """In the fewest digits that name it among the float4, so as a float8 it may differ."""
    answer = await shared_client.value("select $1", value, types=["float4"])
    assert unpack("f", pack("f", answer)) == (value,)


@settings(deadline=None, max_examples=60)
@given(data=st.binary())
async def test_bytes_come_back_as_they_were_sent(shared_client: Client, data):
    base64 = b64encode(data).decode()
    assert await shared_client.value("select $1", {"$bytea": base64}) == base64


@settings(deadline=None, max_examples=60)
@given(moment=st.datetimes())
async def test_moments_come_back_as_they_were_sent(shared_client: Client, moment):
    text = moment.isoformat()
    answer = await shared_client.value("select $1", text, types=["timestamp"])
    assert type(moment).fromisoformat(answer) == moment


@settings(deadline=None, max_examples=60)
@given(text=TEXT)
async def test_a_text_comes_back_through_a_query_string(shared_client: Client, text):
    reply = await shared_client.post(
        "/v1/query",
        params={"p": text, "rows": "arrays"},
        data=b"select $1",
        headers={"Content-Type": "application/sql"},
    )
    assert reply.json["rows"] == [[text]]
