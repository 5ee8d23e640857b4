"""Which format and which compression a client gets, by its Accept headers.

Source: RFC 9110, sections 12.4.2 (quality values), 12.5.1 (Accept) and 12.5.3 (Accept-Encoding).
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias, TypeVar

FormatName: TypeAlias = Literal["ndjson", "csv", "json", "arrow"]
Coding: TypeAlias = Literal["zstd", "gzip"]
Name = TypeVar("Name", bound=str)

FORMATS: Mapping[str, FormatName] = {
    "application/x-ndjson": "ndjson",
    "text/csv": "csv",
    "application/json": "json",
    "application/vnd.apache.arrow.stream": "arrow",
}
CODINGS: Mapping[str, Coding] = {"zstd": "zstd", "gzip": "gzip"}


def choose_format(accept: str | None) -> FormatName | None:
    """Find the best format; NDJSON where anything will do, None where nothing of ours will."""
    if not accept:
        return "ndjson"
    return _choose(accept, FORMATS)


def choose_coding(accept_encoding: str | None) -> Coding | None:
    """Find the best compression; None for none."""
    return _choose(accept_encoding, CODINGS) if accept_encoding else None


def _choose(header: str, offers: Mapping[str, Name]) -> Name | None:
    """Find the offer of the highest quality; the first one of several."""
    wishes = _parse(header)
    best, best_quality = None, 0.0
    for token, name in offers.items():
        ranges = (token, f"{token.partition('/')[0]}/*", "*/*", "*")
        quality = next((wishes[asked] for asked in ranges if asked in wishes), 0.0)
        if quality > best_quality:
            best, best_quality = name, quality
    return best


def _parse(header: str) -> dict[str, float]:
    """Read `a;q=0.5, b` as {"a": 0.5, "b": 1.0}; parameters other than q are passed over."""
    wishes = {}
    for element in header.lower().split(","):
        token, *parameters = (part.strip() for part in element.split(";"))
        pairs = dict(parameter.partition("=")[::2] for parameter in parameters)
        wishes[token] = _quality(pairs.get("q", "1"))
    return wishes


def _quality(text: str) -> float:
    """Read a quality value; what isn't one asks for nothing."""
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0
