"""Postgres array text, such as `{1,NULL,"a b"}`, to JSON arrays."""

import re
from collections.abc import Callable

Encode = Callable[[bytes], bytes]

_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def array_encoder(encode_element: Encode, delimiter: str = ",") -> Encode:
    """Make the encoder of arrays whose elements `encode_element` turns into JSON.

    Array text and JSON differ in brackets, delimiter, NULL and elements only, so tokens are
    replaced where they stand: no recursion, whatever the dimensions. Explicit bounds, as in
    `[0:1]={1,2}`, are dropped, because JSON has none.

    The encoder raises ValueError for what isn't an array.

    Source: PostgreSQL documentation, "Array Input and Output Syntax".
    """
    separator = delimiter.encode()
    unquoted = rb'[^{}"' + re.escape(separator) + rb"]+"
    token = re.compile(rb'"((?:[^"\\]++|\\.)*+)"|' + unquoted + rb"|.", re.DOTALL)
    punctuation = {b"{": b"[", b"}": b"]", separator: b",", b"NULL": b"null"}

    def encode_token(match: re.Match[bytes]) -> bytes:
        quoted, text = match[1], match[0]
        if quoted is not None:
            return encode_element(_ESCAPED.sub(rb"\1", quoted))
        if text == b'"':
            raise ValueError("an element without an end")
        return punctuation.get(text) or encode_element(text)

    def encode_array(text: bytes) -> bytes:
        start = text.index(b"=") + 1 if text.startswith(b"[") else 0
        return token.sub(encode_token, text[start:])

    return encode_array
