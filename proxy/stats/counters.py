"""Counts of every event since the start."""

from dataclasses import dataclass, field

from proxy.stats.events import Event


@dataclass(slots=True)
class Tally:
    """How often, and of how much in sum and at most."""

    count: int = 0
    total: float = 0.0
    maximum: float = 0.0


@dataclass(slots=True)
class Counters:
    """One tally for each event; `count` is the `Emit` that all parts are given."""

    tallies: dict[Event, Tally] = field(default_factory=lambda: {event: Tally() for event in Event})

    def count(self, event: Event, value: float = 1) -> None:
        """Count one event."""
        tally = self.tallies[event]
        tally.count += 1
        tally.total += value
        if value > tally.maximum:  # noqa: PLR1730  # a call of max() costs more
            tally.maximum = value

    def snapshot(self) -> dict[str, dict[str, float]]:
        """Return `{event: {count, total, max}}`."""
        return {
            event.value: {"count": tally.count, "total": tally.total, "max": tally.maximum}
            for event, tally in self.tallies.items()
        }
