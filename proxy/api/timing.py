"""What every answer says about its request: the id, and where the time went."""

from collections.abc import Mapping

from aiohttp import web

from proxy.keys import Exchange


def list_timings(exchange: Exchange) -> dict[str, float]:
    """List the seconds that are known, by the names of the `Server-Timing` header."""
    parts = {
        "queue": exchange.queue_s,
        "first": exchange.first_s,
        "db": exchange.db_s,
        "encode": exchange.encode_s,
    }
    return {name: value for name, value in parts.items() if value is not None}


def set_headers(
    response: web.StreamResponse, exchange: Exchange, timings: Mapping[str, float]
) -> None:
    """Set `X-Request-Id` and `Server-Timing`, in milliseconds."""
    response.headers["X-Request-Id"] = exchange.request_id
    response.headers["Server-Timing"] = ", ".join(
        f"{name};dur={value * 1000:.3f}" for name, value in timings.items()
    )
