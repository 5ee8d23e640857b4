"""A transaction that is open across requests, and the ways in which it can end."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from proxy.engine.connection import UpstreamConnection
from proxy.engine.upstream import Connected
from proxy.errors import Executed, TransactionEnded
from proxy.stats.events import Event


@dataclass(frozen=True, slots=True)
class Ending:
    """How a transaction has ended: a sentence, and whether it took effect."""

    reason: str
    executed: Executed = "no"
    event: Event = Event.TRANSACTION_ROLLED_BACK
    kind: type[TransactionEnded] = TransactionEnded

    def to_error(self) -> TransactionEnded:
        """Make the error of a request that comes afterwards."""
        return self.kind(f"the transaction is over: {self.reason}", executed=self.executed)


COMMITTED = Ending("it was committed", "yes", Event.TRANSACTION_COMMITTED)
COMMIT_LOST = Ending(
    "the connection to the upstream was lost during its COMMIT, so nobody knows whether it was "
    "committed",
    "unknown",
)
COMMIT_FAILED = Ending("its COMMIT failed, so it was rolled back")
ROLLED_BACK = Ending("it was rolled back")
LOST = Ending("its connection to the upstream was lost, so the server has rolled it back")
LEFT = Ending("a client went away in the middle of a request, so it was rolled back")
DRAINED = Ending("the service is shutting down, so it was rolled back")
BROKEN = Ending("one of its statements ended it, in a way that is not known", "unknown")


@dataclass(eq=False, slots=True)
class HeldTransaction:
    """An open transaction and the connection that it holds; times are the event loop's."""

    id: str
    connected: Connected
    connection: UpstreamConnection
    idle_s: float
    began_at: float
    expires_at: float
    expires_on: datetime  # the same as a date
    client: str | None = None  # whose it is
    proves_read_only: bool = False  # its COMMIT shows whether anything was written
    is_busy: bool = False
    ending: Ending | None = None  # decided, and carried out when the request that has it is done

    @property
    def state(self) -> Literal["idle", "busy", "failed"]:
        """What it would do with a statement: take it, refuse it, or have the server refuse it."""
        if self.is_busy:
            return "busy"
        return "failed" if self.connection.lane.status == "E" else "idle"

    def find_ending(self) -> Ending | None:
        """Say how it has ended by what its connection shows; None if it goes on."""
        lane = self.connection.lane
        if self.ending is not None:
            return self.ending
        if lane.is_lost:
            return LOST
        if lane.is_busy:
            return LEFT
        return BROKEN if lane.status == "I" else None
