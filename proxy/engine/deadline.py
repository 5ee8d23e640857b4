"""The moment at which a request gives up."""

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """An absolute time on the event loop's clock, in seconds."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """Make the deadline `seconds` from now."""
        return cls(asyncio.get_running_loop().time() + seconds)

    def remaining_s(self) -> float:
        """Seconds left, 0 when it is over."""
        return max(0.0, self.at - asyncio.get_running_loop().time())
