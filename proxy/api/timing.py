"""What every answer says about its request: the id, and where the time went."""

from collections.abc import Mapping

from proxy.keys import Exchange


def list_timings(exchange: Exchange) -> dict[str, float]:
    """List the milliseconds that are known, by the names of the `Server-Timing` header."""
    parts = {}
    if exchange.queue_s is not None:
        parts["queue"] = to_ms(exchange.queue_s)
    if exchange.first_s is not None:
        parts["first"] = to_ms(exchange.first_s)
    if exchange.db_s is not None:
        parts["db"] = to_ms(exchange.db_s)
    if exchange.encode_s is not None:
        parts["encode"] = to_ms(exchange.encode_s)
    return parts


def to_ms(seconds: float) -> float:
    """Turn seconds into milliseconds of three digits; round() takes ten times as long."""
    return int(seconds * 1e6) / 1000


def list_headers(exchange: Exchange, timings: Mapping[str, float]) -> dict[str, str]:
    """List `X-Request-Id` and `Server-Timing`."""
    parts = [f"{name};dur={value}" for name, value in timings.items()]
    return {"X-Request-Id": exchange.request_id, "Server-Timing": ", ".join(parts)}
