"""Fail where a Python file, a function, or the whole of proxy/ has grown too long."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("proxy", "tests", "scripts")
FILE_LINES = 300
FUNCTION_LINES = 40
PROXY_LINES = 6000
ALLOWED: dict[str, str] = {}  # "path" or "path:function" -> why it may be longer


def measure(root: Path) -> Iterator[tuple[str, int, int]]:
    """Every file and function below `root`: its name, its lines, its limit; then proxy/ itself."""
    proxy_lines = 0
    for path in sorted(file for folder in FOLDERS for file in (root / folder).rglob("*.py")):
        name = str(path.relative_to(root))
        source = path.read_text()
        lines = source.count("\n")
        proxy_lines += lines if name.startswith("proxy/") else 0
        yield name, lines, FILE_LINES
        for function in ast.walk(ast.parse(source)):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (function.end_lineno or function.lineno) - function.lineno + 1
                yield f"{name}:{function.name}", length, FUNCTION_LINES
    yield "proxy/", proxy_lines, PROXY_LINES


def main() -> int:
    """Print what is too long; returns the exit status."""
    too_long = [
        f"{name} has {lines} lines, {limit} are allowed: split it by noun"
        for name, lines, limit in measure(Path(__file__).parents[1])
        if lines > limit and name not in ALLOWED
    ]
    print("\n".join(too_long) or "Sizes are fine.")
    return 1 if too_long else 0


if __name__ == "__main__":
    sys.exit(main())
