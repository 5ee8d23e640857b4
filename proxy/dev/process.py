"""Local server processes: they drop root's rights, and end when we do, however we end.

Tested on Linux with util-linux' setpriv; elsewhere an ordinary user can run them, too, but a
SIGKILL of ours then leaves them running.
"""

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C.UTF-8"}  # no PGOPTIONS, TZ, … of the caller
_PROGRAM_CACHE = Path("/var/cache/pgsidecar/programs")
_COMPLAINT = re.compile("fatal|error", re.IGNORECASE)
_START_DEADLINE_S = 15.0
_STOP_DEADLINE_S = 10.0
_POLL_S = 0.01


class StartFailed(Exception):
    """A local server can't be started; the sentence says why and what to do."""


@contextmanager
def run_server(
    command: Sequence[str | Path],
    stop_signal: signal.Signals,
    log: Path,
    is_ready: Callable[[int], bool],
    keep_open: Sequence[int] = (),
) -> Iterator[int]:
    """Start a server, wait until `is_ready(pid)`, and stop it at the end; yields its pid.

    It runs in a session of its own, so that Ctrl-C reaches only us and we end things in order.
    Start it from the main thread: the kernel ends it together with the thread that started it.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*_leash(stop_signal), *command],
            cwd="/",
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=keep_open,
        )
    try:
        _wait_until_ready(process, is_ready, log)
        yield process.pid
    finally:
        _stop(process, stop_signal)


def run_program(command: Sequence[str | Path], text: bytes = b"") -> None:
    """Feed a program with `text` until it ends; a failure raises StartFailed with its words."""
    done = subprocess.run(
        [*_leash(signal.SIGTERM), *command],
        cwd="/",
        env=_ENVIRONMENT,
        input=text,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise StartFailed(f"{Path(command[0]).name} failed: {_find_reason(done.stderr)}")


def find_free_port() -> int:
    """Ask the kernel for a port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    """Whether something accepts connections on this port of the loopback interface."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def make_walkable(folder: Path) -> Path:
    """Create a folder, and what its path lacks, so that every user can walk through it."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(0o755)  # whatever the umask
    return folder


def give_away(path: Path) -> None:
    """Hand a file or folder to the user that the servers run as."""
    if _is_root():
        os.chown(path, NOBODY, NOBODY)


def place_in_reach(folder: Path, *siblings: Path) -> Path:
    """Return `folder`, or a copy of it where the servers' user can run what's inside.

    Root's checkouts and environments often lie below a home that nobody else may enter. What
    the programs find by their relative path goes along as `siblings`.
    """
    originals = [path.resolve() for path in (folder, *siblings)]
    if not _is_root() or all(map(_is_open_to_all, originals)):
        return folder
    copies = make_walkable(_PROGRAM_CACHE) / _fingerprint(originals)
    if not copies.exists():
        _copy_for_all(originals, copies)
    return copies / originals[0].name


def _is_open_to_all(folder: Path) -> bool:
    """Whether every user may walk to the folder, read its files and run its programs."""
    is_reachable = all(path.stat().st_mode & 0o001 for path in folder.parents)
    return is_reachable and all(_is_open(path) for path in (folder, *folder.rglob("*")))


def _is_open(path: Path) -> bool:
    mode = path.stat().st_mode
    wanted = 0o005 if mode & 0o100 else 0o004
    return mode & wanted == wanted


def _fingerprint(folders: Sequence[Path]) -> str:
    """Name for the folders' content, by names and sizes: the same package has one copy."""
    files = [
        (str(path.relative_to(folder.parent)), path.stat().st_size)
        for folder in folders
        for path in folder.rglob("*")
    ]
    return hashlib.sha256(repr(sorted(files)).encode()).hexdigest()[:16]


def _copy_for_all(originals: Sequence[Path], copies: Path) -> None:
    """Copy under another name first: two of us at once don't see each other's halves."""
    draft = Path(tempfile.mkdtemp(dir=copies.parent))
    for original in originals:
        shutil.copytree(original, draft / original.name)
    for path in (draft, *draft.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (0o555 if mode & 0o100 else 0o444))
    try:
        draft.rename(copies)
    except OSError:  # another one was faster
        shutil.rmtree(draft)


def _is_root() -> bool:
    return os.geteuid() == 0


def _leash(death_signal: signal.Signals) -> list[str]:
    """Command prefix: drop root's rights, and get `death_signal` when our process dies."""
    setpriv = shutil.which("setpriv")
    if setpriv is None and _is_root():
        raise StartFailed("Postgres refuses to run as root: install util-linux, which has setpriv.")
    if setpriv is None:
        return []
    leash = [setpriv, "--pdeathsig", death_signal.name.removeprefix("SIG")]
    drop = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if _is_root() else []
    return [*leash, *drop]


def _wait_until_ready(
    process: subprocess.Popen[bytes], is_ready: Callable[[int], bool], log: Path
) -> None:
    deadline = time.monotonic() + _START_DEADLINE_S
    while not is_ready(process.pid):
        if process.poll() is not None:
            raise StartFailed(f"{log.stem} ended at its start: {_find_reason(log.read_bytes())}")
        if time.monotonic() > deadline:
            raise StartFailed(f"{log.stem} isn't ready after {_START_DEADLINE_S:.0f} s: see {log}")
        time.sleep(_POLL_S)


def _stop(process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    process.send_signal(stop_signal)
    try:
        process.wait(_STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _find_reason(output: bytes) -> str:
    """The first line about an error, else the last line."""
    lines = output.decode(errors="replace").strip().splitlines() or ["it printed nothing"]
    return next((line for line in lines if _COMPLAINT.search(line)), lines[-1])
