"""Parameters of a request, raw JSON, as what Bind sends: text format, types mostly inferred."""

import re
from binascii import a2b_base64
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from proxy.errors import InvalidRequest
from proxy.sql.types import TYPE_NAMES, SqlType, type_by_name

SHOWN_NAME = 63  # the longest name Postgres knows; of longer ones an error shows the beginning

MAX_PARAMETERS = 32_767  # as the drivers have it; some take the protocol's count for signed
INFERRED = 0
_BYTEA = 17
_JSON = frozenset({114, 3802})

_QUOTE, _ARRAY, _OBJECT, _NULL = b'"[{n'
_STRINGS = re.compile(rb'("(?:[^"\\]++|\\.)*+")')
_SPECIAL = re.compile(rb'(["\\])')
_PUNCTUATION = {",": bytes.maketrans(b"[]", b"{}"), ";": bytes.maketrans(b"[],", b"{};")}

_decode_string = Decoder(str).decode
_decode_object = Decoder(dict[str, Raw]).decode
_decode_elements = Decoder(list[Raw]).decode


class Encoded(NamedTuple):
    """What Bind and Parse need: a value's text or None for NULL; OID 0 = the server infers."""

    values: tuple[bytes | None, ...]
    oids: tuple[int, ...]


def encode_params(values: Sequence[Raw], types: Sequence[str | None]) -> Encoded:
    """Encode raw JSON values as Postgres text; `types` may be shorter than `values`.

    The values come from a decoder that has checked their grammar and their UTF-8, as `parse_body`.

    Raises:
        InvalidRequest: names the parameter's number or the type, never a value.
    """
    _check_counts(len(values), len(types))
    kinds = [_resolve(name, index) for index, name in enumerate(types)]
    kinds += [None] * (len(values) - len(kinds))
    pairs: list[tuple[bytes | None, int]] = []
    try:
        for value, kind in zip(values, kinds, strict=True):
            pairs.append(encode_value(value, kind))  # an error needs their number
    except InvalidRequest as error:
        raise InvalidRequest(f"parameter ${len(pairs) + 1} {error.detail}") from error
    return Encoded(tuple(text for text, _ in pairs), tuple(oid for _, oid in pairs))


def encode_value(value: Raw, kind: SqlType | None) -> tuple[bytes | None, int]:
    """Encode one raw JSON value, for a type or None where the server infers it.

    Raises:
        InvalidRequest: what is wrong; the sentence begins behind the value's name.
    """
    try:
        return _encode(bytes(value), kind)
    except RecursionError as cause:
        raise InvalidRequest("is nested too deeply") from cause


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Say which known name is nearest: `; did you mean 'params'?`, or nothing when none is."""
    nearest = get_close_matches(name[:SHOWN_NAME], known, n=1)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""


def _check_counts(params: int, types: int) -> None:
    if params > MAX_PARAMETERS:
        raise InvalidRequest(
            f"{params} parameters are more than the {MAX_PARAMETERS} that fit; "
            "send an array and use unnest($1::int[]) or = any($1)"
        )
    if types > params:
        raise InvalidRequest(
            f"types has {types} entries for {params} parameters; give one per parameter, "
            "or fewer (null and missing ones are inferred)"
        )


def _resolve(name: str | None, index: int) -> SqlType | None:
    if name is None:
        return None
    kind = type_by_name(name)
    if kind is None:
        shown = name[:SHOWN_NAME]
        raise InvalidRequest(
            f"types[{index}]: unknown type '{shown}'; for your own types write "
            f"${index + 1}::{shown} in the statement{did_you_mean(name, TYPE_NAMES)}"
        )
    return kind


def _encode(text: bytes, kind: SqlType | None) -> tuple[bytes | None, int]:
    first = text[0]
    oid = INFERRED if kind is None else kind.oid
    if first == _NULL:
        return None, oid
    if first == _OBJECT:
        return _encode_object(text, oid)
    if oid in _JSON:
        return text, oid
    if first == _QUOTE:
        return _encode_string(text), oid
    if first == _ARRAY:
        return _encode_array(text, kind), oid
    return text, oid  # true, false and numbers, exactly as they were sent


def _encode_string(text: bytes) -> bytes:
    if b"\\" not in text:
        return text[1:-1]
    value = _decode_string(text).encode()
    if 0 in value:
        raise InvalidRequest(
            "contains \\u0000, which Postgres text cannot hold; "
            'remove it, or send bytes as {"$bytea": "<base64>"}'
        )
    return value


def _encode_object(text: bytes, oid: int) -> tuple[bytes | None, int]:
    """Encode a JSON document, or the one that `$json` or the bytes that `$bytea` wraps."""
    members = _decode_object(text)
    if len(members) != 1:
        return text, oid
    ((name, member),) = members.items()
    wrapped = bytes(member)
    if name == "$json":
        return (None if wrapped == b"null" else wrapped), oid
    if name == "$bytea" and oid not in _JSON:
        return _encode_bytea(wrapped), _BYTEA
    return text, oid


def _encode_bytea(text: bytes) -> bytes:
    try:
        return b"\\x" + a2b_base64(_decode_string(text), strict_mode=True).hex().encode()
    except (DecodeError, ValueError) as cause:
        raise InvalidRequest(
            'is no bytea: {"$bytea": …} takes a string of base64 with padding'
        ) from cause


def _encode_array(text: bytes, kind: SqlType | None) -> bytes:
    """Encode an array of scalars as an array literal, one with objects as its JSON text.

    JSON and array literals differ in brackets, null and escapes only, so the strings are taken
    out and the rest is translated: no recursion, whatever the nesting.
    """
    if kind is not None and kind.element is not None and kind.element.oid in _JSON:
        return _encode_documents(text)
    parts = _STRINGS.split(text)
    between, strings = parts[::2], parts[1::2]
    if any(b"{" in part for part in between):
        return text
    punctuation = _PUNCTUATION[kind.delimiter if kind else ","]
    parts[::2] = [part.translate(punctuation).replace(b"null", b"NULL") for part in between]
    parts[1::2] = [_quote(_encode_string(part)) for part in strings]
    return b"".join(parts)


def _encode_documents(text: bytes) -> bytes:
    """Encode the elements of a json[] or jsonb[], whatever they are, as their JSON text."""
    documents = (bytes(element) for element in _decode_elements(text))
    elements = (b"NULL" if text == b"null" else _quote(text) for text in documents)
    return b"{" + b",".join(elements) + b"}"


def _quote(text: bytes) -> bytes:
    return b'"' + _SPECIAL.sub(rb"\\\1", text) + b'"'
