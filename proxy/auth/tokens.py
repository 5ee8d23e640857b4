"""Bearer tokens: a directory with a file for each client, read again as its files change."""

import asyncio
import errno
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import TypeAlias

from proxy.errors import ProxyError
from proxy.repeat import repeat
from proxy.stats.events import Emit, Event

MAX_CLIENTS = 1000
MAX_FILE_BYTES = 64 * 1024
_CLIENT = re.compile(r"[\w.-]{1,64}", re.ASCII)
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{16,}=*")  # RFC 6750's form; short ones can be guessed
_log = logging.getLogger("pgsidecar.auth")

Digests: TypeAlias = Mapping[str, Sequence[bytes]]  # of each client's tokens
Problems: TypeAlias = Mapping[str, str]  # by client


class TokenFolder:
    """Knows the clients by their tokens, of which it keeps nothing but digests."""

    def __init__(self, path: Path | None, emit: Emit) -> None:
        self._path = path
        self._emit = emit
        self._digests: Digests = {}
        self._problems: Problems = {}

    def find(self, token: str) -> str | None:
        """Find whose token it is.

        It is compared with every token that there is, so that the time taken tells nothing.
        """
        digest = _digest(token)
        found = None
        for client, known in self._digests.items():
            for each in known:
                if compare_digest(digest, each):
                    found = client
        return found

    @asynccontextmanager
    async def watch(self, reload_s: float) -> AsyncIterator[None]:
        """Read the directory, and look for changes as long as the block lasts.

        Raises:
            ProxyError: a file can't be used; a line for each.
        """
        path = self._path
        if path is None:
            yield
            return
        self._digests, problems = await asyncio.to_thread(read_tokens, path, {})
        if problems:
            raise ProxyError("\n".join(f"auth.tokens_dir: {line}" for line in problems.values()))
        async with repeat(lambda: self._reload(path), reload_s):
            yield

    async def _reload(self, path: Path) -> None:
        digests, problems = await asyncio.to_thread(read_tokens, path, self._digests)
        if digests != self._digests:
            self._emit(Event.TOKENS_RELOADED, 1)
            _log.info("tokens reloaded", extra={"fields": {"clients": len(digests)}})
        for client, problem in problems.items():
            if problem != self._problems.get(client):
                _log.warning("tokens refused", extra={"fields": {"problem": problem}})
        self._digests, self._problems = digests, problems


def read_tokens(path: Path, before: Digests) -> tuple[Digests, Problems]:
    """Read the whole directory; a file that can't be used keeps the tokens that it had.

    Blocks, so it's for a thread. Of two clients with the same token neither may have it.
    """
    digests: dict[str, Sequence[bytes]] = {}
    problems: dict[str, str] = {}
    try:
        files = _list_files(path)
    except OSError as cause:
        return before, {"": f"{path} can't be read: {cause.strerror}"}
    owners: dict[bytes, str] = {}
    for file in files:
        try:
            digests[file.name] = _read_file(file)
            _check_owner(file, digests[file.name], owners)
        except ValueError as problem:
            problems[file.name] = f"{file} {problem}"
            digests[file.name] = before.get(file.name, ())
    return digests, problems


def _list_files(path: Path) -> list[Path]:
    """List the files of clients; Kubernetes mounts hidden ones beside them."""
    files = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    if len(files) > MAX_CLIENTS:
        raise OSError(errno.E2BIG, f"it has more than {MAX_CLIENTS} files")
    return files


def _read_file(file: Path) -> Sequence[bytes]:
    """Read one file's tokens; a message goes on after the file's name and has no token.

    Raises:
        ValueError: what is wrong.
    """
    if _CLIENT.fullmatch(file.name) is None:
        raise ValueError("is no client's name; use up to 64 of A-Z a-z 0-9 _ . -")
    try:
        if not file.is_file():
            raise ValueError("is no file")  # and reading a pipe would wait for it
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except OSError as cause:
        raise ValueError(f"can't be read: {cause.strerror}") from cause
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"has more than {MAX_FILE_BYTES} bytes")
    lines = [line.strip() for line in data.decode("ascii", "replace").splitlines()]
    tokens = [line for line in lines if line and not line.startswith("#")]
    if not tokens:
        raise ValueError("holds no token; write one, or remove the file")
    if not all(map(_TOKEN.fullmatch, tokens)):
        raise ValueError("has a line that is no token; use 16 or more of A-Z a-z 0-9 . _ ~ + / -")
    return [_digest(token) for token in tokens]


def _check_owner(file: Path, digests: Sequence[bytes], owners: dict[bytes, str]) -> None:
    for digest in digests:
        if owners.setdefault(digest, file.name) != file.name:
            raise ValueError(f"has a token of {owners[digest]}; give each client its own")


def _digest(token: str) -> bytes:
    return sha256(token.encode("utf-8", "surrogateescape")).digest()
