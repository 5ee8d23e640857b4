"""How long to wait after a failure, longer after each."""

import asyncio

STEPS_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class Pause:
    """Is over at its beginning, and again some time after it was lengthened last."""

    def __init__(self) -> None:
        self._until = 0.0
        self._failures = 0

    @property
    def is_over(self) -> bool:
        """Whether the next attempt may be made."""
        return asyncio.get_running_loop().time() >= self._until

    def lengthen(self) -> None:
        """Begin the next pause."""
        step = STEPS_S[min(self._failures, len(STEPS_S) - 1)]
        self._until = asyncio.get_running_loop().time() + step
        self._failures += 1
