"""How much a client may ask at once, and in a second."""

from collections.abc import Callable

from proxy.errors import TooManyRequests


class Quota:
    """Counts what a client has in hand, and fills a bucket of requests at its rate.

    The bucket holds a second's worth, and at least one request.
    """

    def __init__(
        self,
        concurrency: int | None,
        per_s: float | None,
        clock: Callable[[], float],
        *,
        what: str = "requests",
    ) -> None:
        self._what = what
        self._concurrency = concurrency
        self._per_s = per_s
        self._clock = clock
        self._running = 0
        self._size = max(1.0, per_s or 1.0)
        self._held = self._size
        self._filled_at = clock()

    def enter(self) -> None:
        """Begin a request; `leave` ends it.

        Raises:
            TooManyRequests: it would be one too many; it counts for nothing.
        """
        if self._concurrency is not None and self._running >= self._concurrency:
            raise TooManyRequests(
                f"the client has {self._concurrency} {self._what} in hand, as many as "
                "auth.clients allows it"
            )
        if self._per_s is not None:
            self._draw(self._per_s)
        self._running += 1

    def leave(self) -> None:
        """End a request."""
        self._running -= 1

    def _draw(self, per_s: float) -> None:
        now = self._clock()
        self._held = min(self._size, self._held + (now - self._filled_at) * per_s)
        self._filled_at = now
        if self._held < 1:
            raise TooManyRequests(
                f"the client may send {per_s:g} requests a second (auth.clients, per_s)"
            )
        self._held -= 1
