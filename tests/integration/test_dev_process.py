"""Local processes lose root's rights, say why they fail, and are ended in any case."""

import os
import signal

import pytest

from proxy.dev import process
from proxy.dev.process import StartFailed, place_in_reach, run_server
from tests.fixtures.process import is_alive


@pytest.fixture
def as_root(monkeypatch):
    """Be taken for root, whoever runs the tests."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_server_that_never_gets_ready_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_START_DEADLINE_S", 0.05)
    seen = []
    never = run_server(
        ["/bin/sleep", "60"],
        signal.SIGTERM,
        tmp_path / "sleeper.log",
        is_ready=lambda pid: bool(seen.append(pid)),
    )
    with pytest.raises(StartFailed, match="sleeper isn't ready"), never:
        pass
    assert not is_alive(seen[0])


def test_server_that_ignores_its_signal_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_STOP_DEADLINE_S", 0.05)
    log = tmp_path / "deaf.log"
    command = ["/bin/sh", "-c", "trap '' TERM; echo on; while :; do sleep 1; done"]
    with run_server(command, signal.SIGTERM, log, lambda _: log.read_bytes() == b"on\n") as pid:
        assert is_alive(pid)
    assert not is_alive(pid)


def test_silent_death_says_so(tmp_path):
    server = run_server(["/bin/false"], signal.SIGTERM, tmp_path / "mute.log", lambda _: False)
    with pytest.raises(StartFailed, match="mute ended at its start: it printed nothing"), server:
        pass


@pytest.mark.usefixtures("as_root")
def test_programs_below_a_closed_home_are_copied_once(tmp_path, home, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "tool").write_text("#!/bin/sh\n")
    (closed / "tool").chmod(0o700)
    monkeypatch.setattr(process, "_PROGRAM_CACHE", home / "programs")
    copy = place_in_reach(closed)
    assert (copy / "tool").stat().st_mode & 0o005 == 0o005
    assert place_in_reach(closed) == copy
    assert [list(folder.iterdir()) for folder in (home / "programs").iterdir()] == [[copy]]


@pytest.mark.usefixtures("as_root")
def test_copy_that_another_process_finished_first_is_taken(tmp_path, home, monkeypatch):
    closed = tmp_path / "raced"
    closed.mkdir(mode=0o700)
    (closed / "raced-tool").touch()
    cache = home / "raced"
    monkeypatch.setattr(process, "_PROGRAM_CACHE", cache)
    copy = place_in_reach(closed)
    process._copy_for_all([closed], copy.parent)
    assert list(cache.iterdir()) == [copy.parent]


@pytest.mark.usefixtures("as_root")
def test_root_without_setpriv_is_told_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StartFailed, match="util-linux"):
        process.run_program(["/bin/true"])


def test_ordinary_user_without_setpriv_starts_programs_plainly(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    process.run_program(["/bin/true"])


def test_ordinary_user_keeps_their_files(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    process.give_away(tmp_path)
    assert tmp_path.stat().st_uid == os.getuid()
