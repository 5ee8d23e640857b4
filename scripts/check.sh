#!/usr/bin/env bash
# Everything that needs no server: style, imports, types, sizes, unit tests.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PWD/.venv/bin:$PATH

ruff check
ruff format --check
lint-imports
mypy
python scripts/check_size.py
pytest tests/unit -q
