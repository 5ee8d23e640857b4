"""The moment at which a request gives up."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from proxy.errors import ProxyError


@dataclass(eq=False, slots=True)
class Deadline:
    """An absolute time on the event loop's clock, in seconds; each is its request's alone."""

    at: float
    cause: Callable[..., ProxyError] | None = None  # the request was cancelled, and gets this

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Make the deadline `seconds` from now."""
        return cls(asyncio.get_running_loop().time() + seconds)

    def remaining_s(self) -> float:
        """Seconds left, 0 when it is over."""
        return max(0.0, self.at - asyncio.get_running_loop().time())
