"""What every answer says about its request: the id, and where the time went."""

from collections.abc import Mapping

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


def list_headers(exchange: Exchange, timings: Mapping[str, float]) -> dict[str, str]:
    """List `X-Request-Id` and `Server-Timing`, in milliseconds."""
    parts = [f"{name};dur={int(value * 1e6) / 1000}" for name, value in timings.items()]
    return {"X-Request-Id": exchange.request_id, "Server-Timing": ", ".join(parts)}
