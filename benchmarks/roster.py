"""Who is measured: pgsidecar and its peers over HTTP, and how each of them is run."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.peer import Kind, Target
from benchmarks.statement import Statement
from proxy.dev.process import find_free_port

ROOT = Path(__file__).parents[1]
CACHE = ROOT / ".cache" / "bench"
PEERS_PYTHON = CACHE / "venv" / "bin" / "python"
NODE_MODULES = CACHE / "node" / "node_modules"
POOL_SIZE = 16  # everybody's


def _set_sidecar(target: Target, port: int) -> Mapping[str, str]:
    return {
        "PGSIDECAR_UPSTREAM__DSN": target.dsn,
        "PGSIDECAR_POOL__SIZE": str(target.pool_size),
        "PGSIDECAR_POOL__OVERFLOW": "0",
        "PGSIDECAR_HTTP__PORT": str(port),
        "PGSIDECAR_OPS__PORT": str(find_free_port()),
    }


def _set_peer(target: Target, port: int) -> Mapping[str, str]:
    return {
        "BENCH_DSN": target.dsn,
        "BENCH_POOL": str(target.pool_size),
        "BENCH_PORT": str(port),
        "BENCH_BODY_BYTES": str(target.body_bytes),
        "NODE_PATH": str(NODE_MODULES),
        "NODE_ENV": "production",
    }


def _write_named(statement: Statement) -> bytes:
    return json.dumps({"sql": statement.sql, "params": dict(statement.params)}).encode()


def _write_numbered(statement: Statement) -> bytes:
    sql, params = statement.number()
    return json.dumps({"sql": sql, "params": params}).encode()


def _read_sidecar(document: Any) -> list[Any]:  # Any: JSON
    rows: list[Any] = document["rows"]
    return rows


def _read_list(document: Any) -> list[Any]:  # Any: JSON
    rows: list[Any] = document
    return rows


def _make_peer(name: str, file: str, **options: Any) -> Kind:  # Any: fields of Kind
    program = ROOT / "benchmarks" / "peers" / file
    settings: dict[str, Any] = {
        "command": [PEERS_PYTHON, program],
        "environment": _set_peer,
        "query_path": "/query",
        "write_body": _write_named,
        "read_rows": _read_list,
        "stream_paths": {"ndjson": "/stream"},
    }
    return Kind(name, **(settings | options))


SIDECAR = Kind(
    "pgsidecar",
    [Path(sys.executable).with_name("pgsidecar"), "serve"],
    _set_sidecar,
    "/v1/query",
    _write_numbered,
    _read_sidecar,
    {
        "ndjson": "/v1/stream",
        "csv": "/v1/stream?format=csv",
    },
)
RECIPE = _make_peer("recipe", "recipe.py")
TYPED = _make_peer("recipe typed", "recipe.py", query_path="/typed", stream_paths={})
CORE = _make_peer("core", "core.py")
NODE = _make_peer(
    "node",
    "node/server.cjs",
    command=["node", ROOT / "benchmarks" / "peers" / "node" / "server.cjs"],
    write_body=_write_numbered,
)
HELLO = _make_peer("hello", "hello.py", stream_paths={})
KINDS = {kind.name: kind for kind in (SIDECAR, RECIPE, TYPED, CORE, NODE, HELLO)}
DESCRIPTIONS = {
    "pgsidecar": "as users run it: every feature on, access log to a file",
    "recipe": "FastAPI, uvicorn, SQLAlchemy AsyncSession and text(), statement caches off",
    "recipe typed": "the same with the type of its answer declared, for pydantic to write it",
    "core": "aiohttp, SQLAlchemy Core with autocommit, orjson, statement caches off",
    "node": "Node: fastify, pg, pg-query-stream",
    "hello": "aiohttp without a database, an answer of the same size",
    "psql": r"psql \copy from and to a file",
    "pgbench simple": "pgbench, simple protocol: what Postgres can do without HTTP",
    "pgbench extended": "pgbench, extended protocol",
}
