"""The load client: a fixed number of connections, each asks again as soon as it is answered.

Run as a program it reads a Load from its standard input and prints a LoadResult; so it has a
process, and a core, of its own. Requests are built beforehand and answers are only measured.
"""

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import cycle
from typing import cast

import uvloop

from benchmarks.peer import PeerFailed
from benchmarks.process import read_cpu_s

_DEADLINE_S = 30.0  # beyond warm-up and measure
_CONTENT_LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True)
class Load:
    """What to send to whom, on how many connections, for how long; `pid` is the server's."""

    port: int
    pid: int
    clients: int
    warm_up_s: float
    measure_s: float
    requests: list[bytes]


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What came of it; times in seconds, processor time per request in microseconds."""

    requests: int
    requests_per_s: float
    cpu_us: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    client_cpu_share: float  # near 1: the client is the bottleneck, not the server


class LoadFailed(PeerFailed):
    """The server answered with something else than 200, or not at all."""


class Connection(asyncio.Protocol):
    """One client: sends a request, waits for the whole answer, sends the next."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float]) -> None:
        self.error = ""
        self._requests = requests
        self._latencies = latencies
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's is of no such class
        self._send()

    def data_received(self, data: bytes) -> None:
        """Send the next request if this was the rest of the answer."""
        buffer = self._buffer + data if self._buffer else data
        head_end = buffer.find(b"\r\n\r\n")
        if head_end < 0 or len(buffer) < head_end + 4 + _read_length(buffer[:head_end]):
            self._buffer = buffer
            return
        self._buffer = b""
        if buffer[9:12] != b"200":
            self.error = buffer[:500].decode(errors="replace")
            return
        self._latencies.append(time.perf_counter() - self._sent_at)
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """A server that hangs up has failed."""
        self.error = self.error or f"connection lost: {error}"

    def close(self) -> None:
        """Hang up in the middle of whatever is going on."""
        if self._transport is not None:
            self._transport.abort()

    def _send(self) -> None:
        assert self._transport is not None
        self._sent_at = time.perf_counter()
        self._transport.write(next(self._requests))


def _read_length(head: bytes) -> int:
    """Length of the body; the answers of one server all have the same header."""
    start = head.lower().index(_CONTENT_LENGTH) + len(_CONTENT_LENGTH)
    end = head.find(b"\r", start)
    return int(head[start : end if end > 0 else None])


async def drive(load: Load) -> LoadResult:
    """Connect, warm up, measure."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    requests = cycle(load.requests)
    connections = [
        (
            await loop.create_connection(
                lambda: Connection(requests, latencies), "127.0.0.1", load.port
            )
        )[1]
        for _ in range(load.clients)
    ]
    await asyncio.sleep(load.warm_up_s)
    latencies.clear()
    started, cpu_s, own_cpu_s = time.perf_counter(), read_cpu_s(load.pid), time.process_time()
    await asyncio.sleep(load.measure_s)
    elapsed_s = time.perf_counter() - started
    cpu_s = read_cpu_s(load.pid) - cpu_s
    own_cpu_s = time.process_time() - own_cpu_s
    count = len(latencies)
    errors = [connection.error for connection in connections if connection.error]
    for connection in connections:
        connection.close()
    if errors or not count:
        raise LoadFailed(next(iter(errors), "no answer at all"))
    latencies.sort()
    p50_ms, p95_ms, p99_ms = (latencies[int(count * share)] * 1e3 for share in (0.5, 0.95, 0.99))
    return LoadResult(
        requests=count,
        requests_per_s=count / elapsed_s,
        cpu_us=cpu_s / count * 1e6,
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        p99_ms=p99_ms,
        client_cpu_share=own_cpu_s / elapsed_s,
    )


def run_load(load: Load) -> LoadResult:
    """Drive the load from a process of its own."""
    specification = asdict(load)
    specification["requests"] = [base64.b64encode(one).decode() for one in load.requests]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(specification).encode(),
        capture_output=True,
        check=False,
        timeout=load.warm_up_s + load.measure_s + _DEADLINE_S,
    )
    if done.returncode:
        raise LoadFailed(done.stderr.decode())
    return LoadResult(**json.loads(done.stdout))


def main() -> None:
    """Read the load, drive it, print the result."""
    specification = json.load(sys.stdin)
    specification["requests"] = [base64.b64decode(one) for one in specification["requests"]]
    print(json.dumps(asdict(uvloop.run(drive(Load(**specification))))))


if __name__ == "__main__":
    main()
