"""The directory of saved queries: read at the start, and again as its files change."""

import asyncio
import errno
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from proxy.errors import NotFound, ProxyError
from proxy.query.params import SHOWN_NAME, did_you_mean
from proxy.query.saved import SavedQuery, parse_saved
from proxy.repeat import repeat
from proxy.stats.events import Emit, Event

MAX_FILES = 1000
_log = logging.getLogger("pgsidecar.named")


class Stamp(NamedTuple):
    """What changes with a file; of a link that of its target, so that Kubernetes' swap shows."""

    inode: int
    modified_ns: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Shelf:
    """The directory as it was last seen; both maps by the names of files."""

    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    queries: Mapping[str, SavedQuery] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)


class SavedFolder:
    """Knows the saved queries by name."""

    def __init__(self, path: Path | None, max_bytes: int, emit: Emit) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._emit = emit
        self._shelf = Shelf()
        self._by_name: dict[str, SavedQuery] = {}
        self._problem: str | None = None  # of the directory itself

    @property
    def queries(self) -> list[SavedQuery]:
        """All of them, by name."""
        return [self._by_name[name] for name in sorted(self._by_name)]

    def find(self, name: str) -> SavedQuery:
        """Find one.

        Raises:
            NotFound: there is none of this name.
        """
        saved = self._by_name.get(name)
        if saved is None:
            hint = did_you_mean(name, self._by_name)
            raise NotFound(
                f"there is no saved query '{name[:SHOWN_NAME]}'{hint}; GET /v1/named lists them"
            )
        return saved

    def report(self) -> dict[str, object]:
        """Say for `/stats` how many there are, and what is wrong with which file."""
        problems = dict(self._shelf.problems)
        if self._problem is not None:
            problems["."] = self._problem
        return {"queries": len(self._by_name), "problems": problems}

    @asynccontextmanager
    async def watch(self, reload_s: float) -> AsyncIterator[None]:
        """Read the directory, and look for changes as long as the block lasts.

        Raises:
            ProxyError: a file can't be used; a line for each.
        """
        if self._path is None:
            yield
            return
        path = self._path
        await self._start(path)
        async with repeat(lambda: self._reload(path), reload_s):
            yield

    async def _start(self, path: Path) -> None:
        try:
            shelf = await asyncio.to_thread(read_shelf, path, Shelf(), self._max_bytes)
        except OSError as cause:
            raise ProxyError(f"sql.named_dir {path} can't be read: {cause.strerror}") from cause
        if shelf.problems:
            lines = (
                f"sql.named_dir: {path / file}: {text}" for file, text in shelf.problems.items()
            )
            raise ProxyError("\n".join(lines))
        self._use(shelf)

    async def _reload(self, path: Path) -> None:
        before = self._shelf
        try:
            shelf = await asyncio.to_thread(read_shelf, path, before, self._max_bytes)
        except OSError as cause:
            problem = f"sql.named_dir can't be read: {cause.strerror}"
            if problem != self._problem:
                self._refuse(str(path), problem)
            self._problem = problem
            return
        self._problem = None
        if shelf is before:
            return
        self._use(shelf)
        for file, problem in shelf.problems.items():
            if problem != before.problems.get(file) or shelf.stamps[file] != before.stamps.get(
                file
            ):
                self._refuse(file, problem)
        self._emit(Event.NAMED_RELOADED, 1)
        _log.info("saved queries reloaded", extra={"fields": {"queries": len(self._by_name)}})

    def _refuse(self, file: str, problem: str) -> None:
        """Say what is wrong; what served before goes on."""
        self._emit(Event.NAMED_REFUSED, 1)
        _log.warning("saved query refused", extra={"fields": {"file": file, "problem": problem}})

    def _use(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._by_name = {saved.name: saved for saved in shelf.queries.values()}


def read_shelf(path: Path, before: Shelf, max_bytes: int) -> Shelf:
    """Read what has changed since `before`, and again what was wrong with it.

    A file that can't be used keeps the query that it had. Blocks, so it's for a thread.

    Raises:
        OSError: the directory can't be read.
    """
    stamps = _list_files(path)
    if stamps == before.stamps:
        return before
    queries = {file: saved for file, saved in before.queries.items() if file in stamps}
    problems: dict[str, str] = {}
    for file, stamp in stamps.items():
        if stamp == before.stamps.get(file) and file not in before.problems:
            continue
        try:
            saved = _read_file(path / file, max_bytes)
            _check_name(saved.name, file, queries)
        except ValueError as problem:
            problems[file] = str(problem)
        else:
            queries[file] = saved
    return Shelf(stamps, queries, problems)


def _list_files(path: Path) -> dict[str, Stamp]:
    files = [
        file for file in path.iterdir() if file.suffix == ".sql" and not file.name.startswith(".")
    ]
    if len(files) > MAX_FILES:
        raise OSError(errno.E2BIG, f"it has more than {MAX_FILES} .sql files")
    return {file.name: _stamp(file) for file in sorted(files)}


def _stamp(file: Path) -> Stamp:
    try:
        stat = file.stat()
    except OSError:  # a link that leads nowhere; reading it will say so
        return Stamp(0, 0, 0)
    return Stamp(stat.st_ino, stat.st_mtime_ns, stat.st_size)


def _read_file(file: Path, max_bytes: int) -> SavedQuery:
    """Read and check one file.

    Raises:
        ValueError: the sentence says what is wrong.
    """
    if not file.is_file():
        raise ValueError("it is no file")
    try:
        with file.open("rb") as opened:
            data = opened.read(max_bytes + 1)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise ValueError(f"it is not UTF-8 (byte {cause.start})") from cause
    except OSError as cause:
        raise ValueError(f"it can't be read: {cause.strerror}") from cause
    if len(data) > max_bytes:
        raise ValueError(f"it has more than the {max_bytes} bytes that limits.sql_bytes allows")
    return parse_saved(text, file.stem)


def _check_name(name: str, file: str, queries: Mapping[str, SavedQuery]) -> None:
    for other, saved in queries.items():
        if saved.name == name and other != file:
            raise ValueError(f"its name {name} is that of {other}; give it another")
