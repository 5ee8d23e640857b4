"""pgbench: what Postgres can do for a point query when nobody speaks HTTP."""

import re
import subprocess
import tempfile
from pathlib import Path

from benchmarks.database import Database
from benchmarks.statement import USERS, select_user

PROTOCOLS = ("simple", "extended")
_TPS = re.compile(r"tps = ([\d.]+) \(without")
_LATENCY = re.compile(r"latency average = ([\d.]+) ms")
_DEADLINE_S = 30.0


def run_pgbench(
    database: Database, protocol: str, clients: int, measure_s: float
) -> dict[str, float]:
    """Ask the point query for so long; it measures in whole seconds."""
    sql = f"\\set id random(1, {USERS})\n{select_user(0).sql};\n"
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        script = Path(folder) / "point.sql"
        script.write_text(sql)
        command: list[str | Path] = [database.bin_dir / "pgbench", "-n", "-f", script]
        command += ["-M", protocol, "-c", str(clients), "-j", "2" if clients > 1 else "1"]
        done = subprocess.run(
            [*command, "-T", str(max(1, round(measure_s))), database.dsn],
            capture_output=True,
            check=True,
            text=True,
            timeout=measure_s + _DEADLINE_S,
        )
    tps, latency = _TPS.search(done.stdout), _LATENCY.search(done.stdout)
    assert tps is not None
    assert latency is not None
    return {"requests_per_s": float(tps[1]), "mean_ms": float(latency[1])}
