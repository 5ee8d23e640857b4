r"""psql's \copy to and from a file of CSV: what the usual tool takes."""

import os
import re
import subprocess
from pathlib import Path

from benchmarks.database import Database

_TIME = re.compile(r"Time: ([\d.]+) ms")
_DEADLINE_S = 600.0


def copy_out(database: Database, sql: str, file: Path, rows: int) -> dict[str, float]:
    """Write a query's rows to a file."""
    return _copy(database, rf"\copy ({sql}) to '{file}' with (format csv, header)", rows)


def copy_in(database: Database, table: str, file: Path, rows: int) -> dict[str, float]:
    """Load a file into a table."""
    return _copy(database, rf"\copy {table} from '{file}' with (format csv, header)", rows)


def _copy(database: Database, command: str, rows: int) -> dict[str, float]:
    """Run one command; its time is what psql itself says, without its own start."""
    before = os.times()
    done = subprocess.run(
        [database.bin_dir / "psql", "-X", "-v", "ON_ERROR_STOP=1", database.dsn],
        input=f"\\timing on\n{command}\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=_DEADLINE_S,
    )
    after = os.times()
    timed = _TIME.search(done.stdout)
    if timed is None or f"COPY {rows}\n" not in done.stdout:
        raise RuntimeError(f"psql printed: {done.stdout} {done.stderr}")
    used_s = after.children_user + after.children_system
    used_s -= before.children_user + before.children_system
    seconds = float(timed[1]) / 1000
    return {"rows": rows, "rows_per_s": rows / seconds, "cpu_us": used_s / rows * 1e6}
