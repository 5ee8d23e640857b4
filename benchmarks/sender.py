"""The sender of bulk loads: a file of CSV goes into a socket as fast as the server takes it.

Run as a program it reads a Sending from its standard input and prints a SendingResult.
"""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from benchmarks.peer import PeerFailed
from benchmarks.process import read_cpu_s, read_peak_bytes, read_resident_bytes, reset_peak

_SOCKET_DEADLINE_S = 120.0
_DEADLINE_S = 900.0
_ANSWER_BYTES = 65536


@dataclass(frozen=True, slots=True)
class Sending:
    """What to send to whom: the file's first line once, its other lines `times` over."""

    port: int
    pid: int
    path: str
    file: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class SendingResult:
    """What came of it; memory is the server's."""

    status: int
    row_count: int
    body_bytes: int
    elapsed_s: float
    cpu_s: float
    before_bytes: int
    peak_bytes: int
    after_bytes: int
    client_cpu_share: float


class SendFailed(PeerFailed):
    """The server didn't take the whole body, or its answer isn't one."""


def send(sending: Sending) -> SendingResult:
    """Send the body and wait for the answer."""
    reset_peak(sending.pid)
    before_bytes = read_resident_bytes(sending.pid)
    cpu_s, own_cpu_s = read_cpu_s(sending.pid), time.process_time()
    address = ("127.0.0.1", sending.port)
    with (
        socket.create_connection(address, _SOCKET_DEADLINE_S) as client,
        Path(sending.file).open("rb") as file,
    ):
        started = time.perf_counter()
        body_bytes = _send_body(client, file, sending)
        status, content = _read_answer(client)
        elapsed_s = time.perf_counter() - started
    return SendingResult(
        status=status,
        row_count=json.loads(content).get("row_count", 0),
        body_bytes=body_bytes,
        elapsed_s=elapsed_s,
        cpu_s=read_cpu_s(sending.pid) - cpu_s,
        before_bytes=before_bytes,
        peak_bytes=read_peak_bytes(sending.pid),
        after_bytes=read_resident_bytes(sending.pid),
        client_cpu_share=(time.process_time() - own_cpu_s) / elapsed_s,
    )


def _send_body(client: socket.socket, file: BinaryIO, sending: Sending) -> int:
    header = file.readline()
    size = os.fstat(file.fileno()).st_size
    body_bytes = len(header) + (size - len(header)) * sending.times
    head = (
        f"POST {sending.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        f"Content-Type: text/csv\r\nContent-Length: {body_bytes}\r\n\r\n"
    )
    client.sendall(head.encode() + header)
    for _ in range(sending.times):
        client.sendfile(file, offset=len(header))
    return body_bytes


def _read_answer(client: socket.socket) -> tuple[int, bytes]:
    """Read to the end of the connection, which the request asked to be closed."""
    data = b""
    while piece := client.recv(_ANSWER_BYTES):
        data += piece
    head, _, content = data.partition(b"\r\n\r\n")
    if not content:
        raise SendFailed(f"no answer: {head[:500].decode(errors='replace')}")
    return int(head[9:12]), content


def run_sending(sending: Sending) -> SendingResult:
    """Send from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.sender"],
        input=json.dumps(asdict(sending)).encode(),
        capture_output=True,
        check=False,
        timeout=_DEADLINE_S,
    )
    if done.returncode:
        raise SendFailed(done.stderr.decode())
    result = SendingResult(**json.loads(done.stdout))
    if result.status != HTTPStatus.OK:
        raise SendFailed(f"{sending.path} answers {result.status}")
    return result


def main() -> None:
    """Read the order, follow it, print the result."""
    print(json.dumps(asdict(send(Sending(**json.load(sys.stdin))))))


if __name__ == "__main__":
    main()
