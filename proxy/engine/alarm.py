"""Deadlines of what is under way, on one timer: most are met, and a timer for each costs more."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")


class Alarm(Generic[Key]):
    """Calls `ring(key)` when the deadline of a key has come; never early, and in order."""

    def __init__(self, ring: Callable[[Key], None]) -> None:
        self._ring = ring
        self._loop = asyncio.get_running_loop()
        self._deadlines: dict[Key, float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._next = float("inf")  # when the timer ends

    def set(self, key: Key, at: float) -> None:
        """Ring at `at`, on the event loop's clock."""
        self._deadlines[key] = at
        if at < self._next:
            self._wait_until(at)

    def clear(self, key: Key) -> None:
        """Don't ring any more; the timer goes on, and may find nothing to do."""
        self._deadlines.pop(key, None)

    def _wait_until(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._next = at
        self._timer = self._loop.call_at(at, self._look)

    def _look(self) -> None:
        self._timer, self._next = None, float("inf")
        now = self._loop.time()
        for key in [key for key, at in self._deadlines.items() if at <= now]:
            self.clear(key)
            self._ring(key)
        if self._deadlines:
            self._wait_until(min(self._deadlines.values()))
