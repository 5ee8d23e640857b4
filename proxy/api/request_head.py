"""The head of a request that is just like most others, read in one step; None for any other."""

import re
from functools import lru_cache
from typing import NamedTuple

_START = "POST /v1/query HTTP/1.1"
_HEADER = re.compile(r"([A-Za-z0-9-]+):[ \t]*([\x20-\x7e]*?)[ \t]*")
_LENGTH = re.compile(r"[0-9]{1,9}")
# What changes nothing. Whatever isn't listed here, `Expect` or `Transfer-Encoding` for example,
# is aiohttp's business.
_WITHOUT_EFFECT = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-language",
        "cache-control",
        "pragma",
        "priority",
        "sec-fetch-mode",
        "user-agent",
    }
)
_VALUES = {"content-type": "application/json", "connection": "keep-alive"}  # no others
_KNOWN = (
    _WITHOUT_EFFECT | _VALUES.keys() | {"host", "content-length", "x-request-id", "authorization"}
)
MAX_HEAD_BYTES = 2048


class RequestHead(NamedTuple):
    """What the head of a `POST /v1/query` says."""

    body_bytes: int
    host: str
    wanted_id: str  # empty for none, like the next
    authorization: str


@lru_cache(1024)  # a client's heads differ in little, if at all
def read_head(head: bytes) -> RequestHead | None:
    """Read a head, up to the blank line and without it.

    None where anything in it is unusual: another method or path, a header that isn't known or
    comes twice, a value that isn't the usual one.
    """
    start, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None or match[1].lower() in headers:
            return None
        headers[match[1].lower()] = match[2]
    length = headers.get("content-length", "")
    if start != _START or not headers.keys() <= _KNOWN or not headers.get("host"):
        return None
    if "content-type" not in headers or _LENGTH.fullmatch(length) is None:
        return None
    if any(headers.get(name, value).lower() != value for name, value in _VALUES.items()):
        return None
    return RequestHead(
        body_bytes=int(length),
        host=headers["host"],
        wanted_id=headers.get("x-request-id", ""),
        authorization=headers.get("authorization", ""),
    )
