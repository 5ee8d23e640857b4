"""Counts of every event since the start."""

from dataclasses import dataclass, field

from proxy.stats.events import Event

MAX_TAGS = 200  # clients make them up
OTHER_TAGS = "*"  # which no tag can be


@dataclass(slots=True)
class Tally:
    """How often, and of how much in sum and at most."""

    count: int = 0
    total: float = 0.0
    maximum: float = 0.0

    def add(self, value: float) -> None:
        """Count one more."""
        self.count += 1
        self.total += value
        self.maximum = max(self.maximum, value)

    def show(self) -> dict[str, float]:
        """Return `{count, total, max}`."""
        return {"count": self.count, "total": self.total, "max": self.maximum}


@dataclass(slots=True)
class Counters:
    """One tally for each event; `count` is the `Emit` that all parts are given."""

    tallies: dict[Event, Tally] = field(default_factory=lambda: {event: Tally() for event in Event})
    tags: dict[str, Tally] = field(default_factory=dict)

    def count(self, event: Event, value: float = 1) -> None:
        """Count one event."""
        tally = self.tallies[event]
        tally.count += 1
        tally.total += value
        if value > tally.maximum:  # noqa: PLR1730  # max() is a call, on the hottest of paths
            tally.maximum = value

    def count_tag(self, tag: str, seconds: float) -> None:
        """Count one request with a tag; those that are too many share a tally."""
        if tag not in self.tags and len(self.tags) >= MAX_TAGS:
            tag = OTHER_TAGS
        self.tags.setdefault(tag, Tally()).add(seconds)

    def snapshot(self) -> dict[str, dict[str, float]]:
        """Return `{event: {count, total, max}}`."""
        return {event.value: tally.show() for event, tally in self.tallies.items()}

    def snapshot_tags(self) -> dict[str, dict[str, float]]:
        """Return the same of the requests with tags, in seconds, by tag."""
        return {tag: tally.show() for tag, tally in self.tags.items()}
