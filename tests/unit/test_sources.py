"""What must hold for the files of the repository themselves."""

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
# in halves, since this file is searched, too
REGISTRIES = ["pypi" + ".org", "files.python" + "hosted", "npm" + "js", "debian" + ".org"]


def list_tracked_files() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    return [ROOT / name for name in names.stdout.decode().split("\0") if name]


def test_every_package_is_listed_in_pyproject():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / "proxy").rglob("*.py")}
    found = {".".join(folder.parts) for folder in folders}
    assert found | {"proxy._config"} == set(listed)


def test_no_file_names_a_registry():
    pattern = re.compile("|".join(map(re.escape, REGISTRIES)).encode())
    tracked = [file for file in list_tracked_files() if file.is_file()]
    assert [str(file) for file in tracked if pattern.search(file.read_bytes())] == []


def test_every_locked_requirement_has_hashes():
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    requirements = re.findall(r"^[a-z0-9].*", text, re.MULTILINE)
    assert requirements
    assert [line for line in requirements if "==" not in line or "--hash=sha256:" not in line] == []
