"""A result as a document: what was measured, of which versions, on which machine."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from benchmarks.measure import Measure, Series
from benchmarks.targets import Verdict


@dataclass(frozen=True, slots=True)
class Result:
    """One run; `is_whole` if it left nothing out and measured as long as it should."""

    date: str  # ISO 8601, UTC
    commit: str
    is_dirty: bool
    is_whole: bool
    seconds: float
    rounds: int
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    peers: Mapping[str, str]
    titles: Mapping[str, str]
    notes: Mapping[str, str]
    missing: Mapping[str, str]
    targets: list[Verdict]
    measures: list[Measure]

    @property
    def series(self) -> Series:
        """The measures, to be asked for medians and ratios."""
        return Series(self.measures)

    @property
    def file_name(self) -> str:
        """<date>-<commit>.json"""
        return f"{self.date[:10]}-{self.commit[:12]}.json"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` has written."""
        document = json.loads(path.read_text(encoding="utf-8"))
        document["targets"] = [Verdict(**one) for one in document["targets"]]
        document["measures"] = [Measure(**one) for one in document["measures"]]
        return cls(**document)

    def write(self, folder: Path) -> Path:
        """Write into a folder; returns the file's path."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.file_name
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")
        return path


def find_newest(folder: Path) -> Result | None:
    """Find the newest result of a folder, by the date that stands in it."""
    results = [Result.read(path) for path in folder.glob("*.json")]
    return max(results, key=lambda one: one.date, default=None)
