"""What a run was made with: versions, machine, commit."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from benchmarks.database import PGBOUNCER, Database
from benchmarks.roster import NODE_MODULES, PEERS_PYTHON, ROOT

_OURS = ("pgsidecar", "aiohttp", "asyncpg", "sqlalchemy", "uvloop", "orjson", "msgspec")
_PEERS = ("fastapi", "uvicorn", "httptools", "aiohttp", "asyncpg", "sqlalchemy", "uvloop", "orjson")
_NODE = ("fastify", "pg", "pg-query-stream")
_GIB = 2**30


def read_versions(database: Database) -> Mapping[str, str]:
    """Versions of everything that takes part; those of the Python peers begin with `peers `."""
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in _OURS},
        **_read_peer_versions(),
        "node": _run(["node", "--version"]),
        **{name: _read_node_version(name) for name in _NODE},
        "postgres": database.run_sql("show server_version"),
        "pgbouncer": _run([PGBOUNCER, "--version"]).split()[1],
    }


def read_machine() -> Mapping[str, str]:
    """Cores, processor, memory, kernel."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "cpu": model[1] if model else platform.machine(),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
    }


def read_commit() -> tuple[str, bool]:
    """Return the commit that is checked out, and whether the code differs from it."""
    changes = _run(["git", "status", "--porcelain", "--", ".", ":!benchmarks/results"])
    return _run(["git", "rev-parse", "HEAD"]), bool(changes)


def _read_peer_versions() -> Mapping[str, str]:
    program = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    found = _run([PEERS_PYTHON, "-c", program, *_PEERS]).split()
    return {f"peers {name}": one for name, one in zip(_PEERS, found, strict=True)}


def _read_node_version(package: str) -> str:
    text = (NODE_MODULES / package / "package.json").read_text(encoding="utf-8")
    found = re.search(r'"version": "([^"]+)"', text)
    return found[1] if found else "?"


def _run(command: Sequence[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, check=True, cwd=ROOT, text=True)
    return done.stdout.strip()
