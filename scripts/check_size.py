"""Fail where a Python file, a function, or the whole of proxy/ has grown too long.

The whole is counted in lines of code, so that nobody saves on docstrings, comments and blank lines:
docs/adr/0010-size-is-counted-in-lines-of-code.md
"""

import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

FOLDERS = ("proxy", "tests", "scripts", "benchmarks")
FILE_LINES = 300
FUNCTION_LINES = 40
CODE_LINES = 12500
NOT_COUNTED = ("proxy/dev/",)  # servers for `make run` and the tests; not in the image
NOT_CODE = frozenset(
    {
        tokenize.COMMENT,
        tokenize.NL,
        tokenize.NEWLINE,
        tokenize.INDENT,
        tokenize.DEDENT,
        tokenize.ENDMARKER,
    }
)
ALLOWED: dict[str, str] = {}  # "path" or "path:function" -> why it may be longer


def measure(root: Path) -> Iterator[tuple[str, int, int]]:
    """Every file and function below `root`: its name, its lines, its limit; then proxy/ itself."""
    code_lines = 0
    for path in sorted((root / "proxy").rglob("*.p[yx][xi]")):
        yield str(path.relative_to(root)), path.read_text().count("\n"), FILE_LINES
    for path in sorted(file for folder in FOLDERS for file in (root / folder).rglob("*.py")):
        name = str(path.relative_to(root))
        source = path.read_text()
        lines = source.count("\n")
        is_counted = name.startswith("proxy/") and not name.startswith(NOT_COUNTED)
        code_lines += count_code(source) if is_counted else 0
        yield name, lines, FILE_LINES
        for function in ast.walk(ast.parse(source)):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (function.end_lineno or function.lineno) - function.lineno + 1
                yield f"{name}:{function.name}", length, FUNCTION_LINES
    yield "proxy/", code_lines, CODE_LINES


def count_code(source: str) -> int:
    """Count the lines that hold more than blanks, comments and docstrings."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            lines.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


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
