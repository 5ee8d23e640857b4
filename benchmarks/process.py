"""What the kernel knows of a process and its children: processor time and resident memory."""

import os
from collections.abc import Iterator
from pathlib import Path

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_RESET_PEAK = "5"  # Source: proc_pid_clear_refs(5)
KIB = 1024


def read_cpu_s(pid: int) -> float:
    """Processor time that the process, its threads and all its children have used."""
    return sum(_read_ticks(one) for one in walk_family(pid)) * _TICK_S


def read_resident_bytes(pid: int) -> int:
    """Memory of the process and its children that is in RAM now."""
    return sum(_read_status(one, "VmRSS") for one in walk_family(pid))


def read_peak_bytes(pid: int) -> int:
    """The same at its highest since `reset_peak`."""
    return sum(_read_status(one, "VmHWM") for one in walk_family(pid))


def reset_peak(pid: int) -> None:
    """Let the peak begin anew at what is resident now."""
    for one in walk_family(pid):
        Path(f"/proc/{one}/clear_refs").write_text(_RESET_PEAK)


def walk_family(pid: int) -> Iterator[int]:
    """The process and everything that it started, directly or not."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _read(children).split():
            yield from walk_family(int(child))


def _read_ticks(pid: int) -> int:
    """User and system time, with that of children which have ended."""
    fields = _read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def _read_status(pid: int, name: str) -> int:
    lines = _read(Path(f"/proc/{pid}/status")).splitlines()
    return next((int(line.split()[1]) * KIB for line in lines if line.startswith(name)), 0)


def _read(path: Path) -> str:
    """Empty where the process has just ended."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
