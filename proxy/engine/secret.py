"""Where a login's password comes from: a file, or a program that prints one."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from proxy.engine.pause import Pause
from proxy.errors import ProxyError, UpstreamAuth, UpstreamUnavailable

MAX_BYTES = 16 * 1024
_END_S = 1.0  # for what has left its process group, and holds the pipe
RENEW_SHARE = 0.8  # of a password's life, after which the program runs again


class Secret(Protocol):
    """Knows the password that holds now."""

    async def read(self, rejected: str | None) -> str:
        """Tell the password; `rejected` is the one that a server has just refused.

        Raises:
            UpstreamAuth, UpstreamUnavailable: there is none; the sentence says nothing of it.
        """

    async def close(self) -> None:
        """End what runs."""


class SecretFile:
    """Reads the file each time, so that whatever way it's replaced holds at once."""

    def __init__(self, path: Path, setting: str) -> None:
        self._path = path
        self._start = f"{setting}: {path}"

    async def read(self, rejected: str | None) -> str:  # noqa: ARG002  # it's read anyway
        """As `Secret.read`."""
        data = await asyncio.to_thread(self._read)
        return check_password(data.removesuffix(b"\n").removesuffix(b"\r"), self._start)

    async def close(self) -> None:
        """Nothing runs."""

    def _read(self) -> bytes:
        try:
            if self._path.exists() and not self._path.is_file():
                raise UpstreamAuth(f"{self._start} is no file")  # reading a pipe would wait for it
            with self._path.open("rb") as opened:
                return opened.read(MAX_BYTES + 1)
        except OSError as cause:
            raise UpstreamAuth(f"{self._start} can't be read: {cause.strerror}") from cause


class SecretCommand:
    """Runs the program when its last output is old or refused; one run serves all who ask."""

    def __init__(self, command: Sequence[str], life_s: float, timeout_s: float) -> None:
        self._command = command
        self._life_s = life_s
        self._timeout_s = timeout_s
        self._password: str | None = None
        self._renew_at = 0.0
        self._problem: ProxyError | None = None
        self._pause = Pause()
        self._running: asyncio.Task[None] | None = None

    async def read(self, rejected: str | None) -> str:
        """As `Secret.read`."""
        if self._is_due(rejected):
            if self._running is None or self._running.done():
                self._running = asyncio.create_task(self._renew())
            await asyncio.wait([self._running])  # who waits may be cancelled, the run goes on
        if self._problem is not None or self._password is None:
            detail = self._problem.detail if self._problem else "it was ended"
            kind = type(self._problem) if self._problem else UpstreamUnavailable
            raise kind(f"upstream.password_command: {detail}")
        return self._password

    async def close(self) -> None:
        """End the run that is under way."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])

    def _is_due(self, rejected: str | None) -> bool:
        if self._problem is not None:
            return self._pause.is_over
        now = asyncio.get_running_loop().time()
        return self._password in {None, rejected} or now >= self._renew_at

    async def _renew(self) -> None:
        begun = asyncio.get_running_loop().time()
        try:
            self._password = await self._run()
        except ProxyError as problem:
            self._problem = problem
            self._pause.lengthen()
        else:
            self._problem = None
            self._pause = Pause()
            self._renew_at = begun + self._life_s * RENEW_SHARE

    async def _run(self) -> str:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # which may say anything
                start_new_session=True,
            )
        except OSError as cause:
            raise UpstreamAuth(f"the program can't be started: {cause.strerror}") from cause
        code = None
        try:
            async with asyncio.timeout(self._timeout_s):
                data = await _read_all(process)
                code = await process.wait()
        except TimeoutError as cause:
            detail = "the program isn't done after upstream.password_timeout_s"
            raise UpstreamUnavailable(detail) from cause
        finally:
            if code is None:
                await _end(process)
        if code != 0:
            raise UpstreamUnavailable(f"the program failed with exit code {code}")
        return check_password(data.partition(b"\n")[0].removesuffix(b"\r"), "the program's output")


async def _read_all(process: asyncio.subprocess.Process) -> bytes:
    assert process.stdout is not None  # noqa: S101  # it's a pipe
    try:
        await process.stdout.readexactly(MAX_BYTES + 1)
    except asyncio.IncompleteReadError as end:
        return end.partial
    raise UpstreamAuth(f"the program prints more than {MAX_BYTES} bytes")


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill what still runs of it, the programs that it has started too, and let go of its pipe."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_S):
            await process.communicate()


def check_password(data: bytes, start: str) -> str:
    """Decode a password; `start` begins the sentence that says why it can't be one.

    Raises:
        UpstreamAuth: it is none.
    """
    if not data:
        raise UpstreamAuth(f"{start} is empty")
    if len(data) > MAX_BYTES:
        raise UpstreamAuth(f"{start} has more than {MAX_BYTES} bytes")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise UpstreamAuth(f"{start} isn't UTF-8") from None  # the cause holds it
    if any(character < " " or character == "\x7f" for character in text):
        raise UpstreamAuth(f"{start} has a line break or a control character in the password")
    return text
