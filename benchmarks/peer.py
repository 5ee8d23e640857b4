"""One server to be measured: how it is started, asked and stopped."""

import http.client
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.statement import Statement
from proxy.dev.process import find_free_port

_START_DEADLINE_S = 30.0
_STOP_DEADLINE_S = 20.0
_ANSWER_DEADLINE_S = 60.0
_POLL_S = 0.005


class PeerFailed(Exception):
    """A peer doesn't start, or answers with something else than 200."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a peer is to talk to, and how widely."""

    dsn: str
    pool_size: int
    body_bytes: int = 0  # of the peer that needs no database


@dataclass(frozen=True, slots=True)
class Kind:
    """How to run a peer, and how to say a statement to it."""

    name: str
    command: Sequence[str | Path]
    environment: Callable[[Target, int], Mapping[str, str]]
    query_path: str
    write_body: Callable[[Statement], bytes]
    read_rows: Callable[[Any], list[Any]]  # Any: a JSON document
    stream_paths: Mapping[str, str] = field(default_factory=dict)  # by format


@dataclass(slots=True)
class Peer:
    """A running peer."""

    kind: Kind
    port: int
    pid: int
    start_s: float = 0.0  # from its start to its first good answer

    @property
    def name(self) -> str:
        """As tables show it."""
        return self.kind.name

    def build_request(self, path: str, statement: Statement) -> bytes:
        """Build a whole HTTP request, ready to be sent over and over."""
        return build_post(path, self.kind.write_body(statement))

    def ask(self, path: str, statement: Statement) -> bytes:
        """Send one statement and return the body of the answer."""
        return post(self.port, path, self.kind.write_body(statement))

    def query(self, statement: Statement) -> list[Any]:
        """Return the rows of one statement, as JSON has them."""
        return self.kind.read_rows(json.loads(self.ask(self.kind.query_path, statement)))


def build_post(path: str, body: bytes) -> bytes:
    """Build a POST of JSON on a connection that stays open."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def post(port: int, path: str, body: bytes) -> bytes:
    """Post JSON on a connection of its own and return the answer's body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_DEADLINE_S)
    try:
        connection.request("POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise PeerFailed(f"{path} answers {answer.status}: {content[:300].decode()}")
    return content


@contextmanager
def run_peer(kind: Kind, target: Target) -> Iterator[Peer]:
    """Start a peer, wait for its first good answer, and stop it at the end."""
    port = find_free_port()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        log = Path(folder) / "log"
        with log.open("wb") as output:
            started = time.perf_counter()
            process = subprocess.Popen(
                kind.command,
                env={**os.environ, **kind.environment(target, port)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            peer = Peer(kind, port, process.pid)
            _wait_for_answer(peer, process, log)
            peer.start_s = time.perf_counter() - started
            yield peer
        finally:
            _stop(process)


@contextmanager
def run_peers(kinds: Sequence[Kind], target: Target) -> Iterator[list[Peer]]:
    """Start several peers, one after the other."""
    with ExitStack() as stack:
        yield [stack.enter_context(run_peer(kind, target)) for kind in kinds]


def _wait_for_answer(peer: Peer, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_DEADLINE_S
    while True:
        try:
            peer.ask(peer.kind.query_path, Statement("select 1 as one"))
        except (OSError, PeerFailed, http.client.HTTPException) as error:
            if process.poll() is not None or time.monotonic() > deadline:
                words = log.read_text(errors="replace")[-1000:]
                raise PeerFailed(f"{peer.name} doesn't start: {words}") from error
            time.sleep(_POLL_S)
        else:
            return


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
