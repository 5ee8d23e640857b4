"""Generated pages equal what the code says."""

import subprocess
import sys
from pathlib import Path

import pytest

from proxy.cli import COMMANDS
from proxy.settings_catalogue import list_entries

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "scripts/generate_docs.py"


def generate(script: Path, *args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, script, *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path):
    """A copy of the program, whose pages lie in a folder of the test's own."""
    for folder in ("scripts", "config", "docs/reference"):
        (tmp_path / folder).mkdir(parents=True)
    script = tmp_path / "scripts/generate_docs.py"
    script.write_bytes(PROGRAM.read_bytes())
    return script


def test_generated_pages_equal_the_code():
    done = generate(PROGRAM, "--check")
    assert (done.returncode, done.stdout) == (0, "")


def test_check_names_a_page_that_differs(copy):
    assert generate(copy).returncode == 0
    page = copy.parents[1] / "docs/reference/cli.md"
    page.write_text("edited by hand")
    done = generate(copy, "--check")
    assert (done.returncode, done.stdout) == (
        1,
        "docs/reference/cli.md differs from the code: run `make docs`\n",
    )
    assert page.read_text() == "edited by hand"


def test_every_setting_and_command_is_documented():
    settings = (ROOT / "docs/reference/settings.md").read_text()
    commands = (ROOT / "docs/reference/cli.md").read_text()
    for entry in list_entries().values():
        assert f"`{entry.name}`" in settings
        assert f"`{entry.variable}`" in settings
    for command in COMMANDS:
        assert f"`pgsidecar {command.name}" in commands
