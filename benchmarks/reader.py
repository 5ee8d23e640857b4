"""The reader of streams: a raw socket whose bytes are counted, not understood.

Run as a program it reads a Reading from its standard input and prints a ReadingResult.
"""

import base64
import json
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from benchmarks.peer import PeerFailed
from benchmarks.process import read_cpu_s, read_peak_bytes, read_resident_bytes, reset_peak

_BUFFER_BYTES = 256 * 1024
_TAIL_BYTES = 512
_SLOW_PIECE_BYTES = 64 * 1024
_SMALL_BYTES = 16 * 1024
_GATHER_S = 0.0005
_SOCKET_DEADLINE_S = 60.0
_DEADLINE_S = 600.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What to send to whom, and how slowly to read, for how long; `pid` is the server's."""

    port: int
    pid: int
    request: bytes
    bytes_per_s: float = 0.0  # 0: as fast as it goes
    give_up_s: float = 0.0  # 0: to the end


@dataclass(frozen=True, slots=True)
class ReadingResult:
    """What came of it; memory is the server's."""

    lines: int
    body_bytes: int
    is_complete: bool  # the body had its last chunk
    tail: str
    first_byte_s: float
    elapsed_s: float
    cpu_s: float
    before_bytes: int
    peak_bytes: int
    after_bytes: int
    client_cpu_share: float


class ReadFailed(PeerFailed):
    """The server answered with something else than 200 and a chunked body."""


class Body:
    """Counts what is inside the chunks of a body."""

    def __init__(self) -> None:
        self.lines = 0
        self.size = 0
        self.tail = b""
        self.is_complete = False
        self._left = 0  # of the chunk that is being read, with its line break
        self._is_last = False
        self._rest = b""  # the beginning of a chunk's head

    def feed(self, data: bytes) -> None:
        """Take what came from the socket."""
        data, position = self._rest + data, 0
        self._rest = b""
        while position < len(data):
            if self._left:
                position = self._take(data, position)
                continue
            end = data.find(b"\r\n", position)
            if end < 0:
                self._rest = data[position:]
                return
            length = int(data[position:end], 16)
            position = end + 2
            self._left = length + 2
            self._is_last = not length

    def _take(self, data: bytes, position: int) -> int:
        end = min(position + self._left, len(data))
        self._left -= end - position
        self.is_complete = self._is_last and not self._left
        content_end = end - max(0, 2 - self._left)  # without the chunk's own line break
        if content_end > position:
            self.lines += data.count(b"\n", position, content_end)
            self.size += content_end - position
            self.tail = (self.tail + data[max(position, content_end - _TAIL_BYTES) : content_end])[
                -_TAIL_BYTES:
            ]
        return end


def read(reading: Reading) -> ReadingResult:
    """Send the request and read the body to its end, or until it is time to give up."""
    reset_peak(reading.pid)
    before_bytes = read_resident_bytes(reading.pid)
    cpu_s, own_cpu_s = read_cpu_s(reading.pid), time.process_time()
    body = Body()
    with socket.create_connection(("127.0.0.1", reading.port), _SOCKET_DEADLINE_S) as client:
        started = time.perf_counter()
        client.sendall(reading.request)
        data = _read_head(client)
        first_byte_s = time.perf_counter() - started
        body.feed(data)
        _read_body(client, body, reading)
        elapsed_s = time.perf_counter() - started
        peak_bytes = read_peak_bytes(reading.pid)
    return ReadingResult(
        lines=body.lines,
        body_bytes=body.size,
        is_complete=body.is_complete,
        tail=body.tail.decode(errors="replace"),
        first_byte_s=first_byte_s,
        elapsed_s=elapsed_s,
        cpu_s=read_cpu_s(reading.pid) - cpu_s,
        before_bytes=before_bytes,
        peak_bytes=peak_bytes,
        after_bytes=read_resident_bytes(reading.pid),
        client_cpu_share=(time.process_time() - own_cpu_s) / elapsed_s,
    )


def _read_head(client: socket.socket) -> bytes:
    """Read the header and at least one byte of the body; returns what there is of the body."""
    data = b""
    while len(data.partition(b"\r\n\r\n")[2]) == 0:
        piece = client.recv(_BUFFER_BYTES)
        if not piece:
            raise ReadFailed(f"no body: {data.decode(errors='replace')}")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    if head[9:12] != b"200" or b"chunked" not in head.lower():
        raise ReadFailed(data[:500].decode(errors="replace"))
    return rest


def _read_body(client: socket.socket, body: Body, reading: Reading) -> None:
    started = time.perf_counter()
    buffer = memoryview(bytearray(_SLOW_PIECE_BYTES if reading.bytes_per_s else _BUFFER_BYTES))
    while not body.is_complete:
        size = client.recv_into(buffer)
        if not size:
            return
        body.feed(bytes(buffer[:size]))
        if size < _SMALL_BYTES and not body.is_complete:
            time.sleep(_GATHER_S)  # rows come one by one: let them gather, we need no core
        elapsed_s = time.perf_counter() - started
        if reading.give_up_s and elapsed_s > reading.give_up_s:
            return
        if reading.bytes_per_s:
            time.sleep(max(0.0, body.size / reading.bytes_per_s - elapsed_s))


def run_reading(reading: Reading) -> ReadingResult:
    """Read from a process of its own."""
    specification = {**asdict(reading), "request": base64.b64encode(reading.request).decode()}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.reader"],
        input=json.dumps(specification).encode(),
        capture_output=True,
        check=False,
        timeout=_DEADLINE_S,
    )
    if done.returncode:
        raise ReadFailed(done.stderr.decode())
    return ReadingResult(**json.loads(done.stdout))


def main() -> None:
    """Read the order, follow it, print the result."""
    specification = json.load(sys.stdin)
    specification["request"] = base64.b64decode(specification["request"])
    print(json.dumps(asdict(read(Reading(**specification)))))


if __name__ == "__main__":
    main()
