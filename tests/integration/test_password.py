"""Where a password from a file or a program holds, and that nothing ever shows it."""

import asyncio
import json
import subprocess
import sys
import time
from contextlib import suppress

import aiohttp
import asyncpg
import pytest

from proxy.engine.password import Password
from proxy.engine.secret import SecretFile
from proxy.errors import UpstreamAuth
from tests.fixtures.guarded import FIRST, SECOND, WRONG, count, run_guarded
from tests.fixtures.listener import listen
from tests.fixtures.logins import ask, run_logins
from tests.fixtures.process import is_alive
from tests.fixtures.program import run_program
from tests.fixtures.service import poll, run_client

SECRETS = (FIRST, SECOND, WRONG)


@pytest.fixture
async def guarded(servers, home, tmp_path_factory):
    """Postgres with a password."""
    folder = home / tmp_path_factory.mktemp("guarded").name
    folder.mkdir()
    folder.chmod(0o755)
    async with run_guarded(servers, "postgres", folder) as running:
        yield running


async def test_clients_that_listen_have_the_password_of_now(guarded):
    async with guarded.serve() as client:
        await guarded.set(SECOND)
        guarded.write(SECOND)
        async with listen(client, "news") as listener:
            await client.value("select pg_notify('news', 'x')")
            assert (await listener.hear()).data["payload"] == "x"


async def test_session_dsn_of_the_same_login_has_the_same_password(guarded):
    settings = {"password_file": str(guarded.file), "session_dsn": guarded.upstream.dsn}
    async with guarded.serve(upstream=settings) as client, listen(client, "news") as listener:
        await client.value("select pg_notify('news', 'x')")
        assert (await listener.hear()).data["payload"] == "x"


async def test_logins_of_clients_have_passwords_in_files_of_their_own(guarded, tmp_path):
    passwords, tokens = tmp_path / "passwords", tmp_path / "tokens"
    for folder in (passwords, tokens):
        folder.mkdir()
    async with run_client(guarded.upstream.postgres_dsn) as admin:
        for name in ("acme", "globex"):
            await admin.query(f"create role {name} login password '{name}-{FIRST}'")
            (passwords / name).write_text(f"{name}-{FIRST}\n")
    upstream = {"password_file": str(guarded.file), "logins_passwords_dir": str(passwords)}
    async with run_logins(guarded.upstream, tokens, upstream=upstream) as client:
        for name, login in (("acme", "acme"), ("globex", "globex"), ("guest", "app")):
            assert (await ask(client, name, "select session_user")).json["rows"] == [[login]]


async def test_barred_password_is_tried_when_the_one_that_worked_does_so_no_more(guarded):
    password = Password(SecretFile(guarded.file, "upstream.password_file"), lambda *_: None)
    used = []

    async def connect(word):
        used.append(word)
        return await asyncpg.connect(guarded.upstream.dsn, password=word)

    async def log_in():
        used.clear()
        await (await password.log_in(connect)).close()
        return list(used)

    assert await log_in() == [FIRST]
    guarded.write(SECOND)
    assert await log_in() == [SECOND, FIRST]
    assert await log_in() == [FIRST]  # the new one has a pause
    await guarded.set(SECOND)
    assert await log_in() == [FIRST, SECOND]
    assert await log_in() == [SECOND]


async def test_password_that_two_logins_overtake_is_the_newer_one(guarded):
    """A login that has begun with the old password doesn't bring it back by ending late."""
    password = Password(SecretFile(guarded.file, "upstream.password_file"), lambda *_: None)
    begun, may_end = asyncio.Event(), asyncio.Event()
    used = []

    async def connect(word):
        used.append(word)
        driver = await asyncpg.connect(guarded.upstream.dsn, password=word)
        if len(used) == 1:
            begun.set()
            await may_end.wait()
        return driver

    late = asyncio.create_task(password.log_in(connect))
    await begun.wait()
    await guarded.set(SECOND)
    guarded.write(SECOND)
    first = await password.log_in(connect)
    may_end.set()
    second = await late
    assert used == [FIRST, SECOND, SECOND]
    for driver in (first, second):
        await driver.close()


LEAKING = "import sys; print(sys.argv[1], file=sys.stderr); print(open(sys.argv[2]).read())"


@pytest.mark.parametrize("kind", ["file", "command"])
async def test_nothing_ever_shows_a_password(guarded, kind):
    """Neither answers, nor figures, nor the log, nor the printed settings."""
    program = [sys.executable, "-c", LEAKING, "noise", str(guarded.file)]
    source = str(guarded.file) if kind == "file" else json.dumps(program)
    flags = ("--upstream.dsn", guarded.upstream.dsn, f"--upstream.password_{kind}", source)
    config = (sys.executable, "-m", "proxy", "config", *flags)
    shown = [await asyncio.to_thread(subprocess.check_output, config)]
    quick = ("--pool.max_age_s", "1", "--upstream.password_life_s", "1")
    more = ("--upstream.recheck_s", "0.1", "--log.level", "debug")
    async with run_program(*flags, *quick, *more) as served, aiohttp.ClientSession() as session:
        for text in (WRONG, f"{SECOND}\n{WRONG}", f"{SECOND}\0", FIRST):
            guarded.write(text)
            shown.append(await ask_until(session, served, 200))
        await guarded.set(SECOND)
        guarded.write(WRONG)
        shown.append(await ask_until(session, served, 502))
        served.process.terminate()
        await served.wait()
    shown.append(served.lines)
    assert any("password refused" in line for line in served.lines)
    assert not [secret for secret in SECRETS if secret in repr(shown)]


async def ask_until(session, served, status):
    """Ask until connections are a second old and this is the answer; everything that was said."""
    said = []
    end = time.monotonic() + 1.2

    async def is_answered():
        async with session.post(f"{served.url}/v1/query", json={"sql": "select 1"}) as response:
            said.append(await response.text())
        async with session.get(f"{served.operations_url}/stats") as stats:
            said.append(await stats.text())
        async with session.get(f"{served.operations_url}/ready") as ready:
            said.append(await ready.text())
        return response.status == status and time.monotonic() > end

    await poll(is_answered, f"the answer is never {status}")
    return said


async def test_a_wrong_password_at_the_start_is_not_shown_either(guarded):
    guarded.write(WRONG)
    with pytest.raises(UpstreamAuth) as refused:
        async with guarded.serve():
            pass
    assert WRONG not in repr(refused.getrepr(chain=True, showlocals=False))
    assert refused.value.detail.startswith("the upstream refuses our login: ")


async def test_program_that_fails_at_the_start_is_waited_for(guarded, tmp_path):
    settings = {"password_command": guarded.print_file(tmp_path)}
    guarded.file.unlink()
    async with guarded.serve(upstream=settings) as client:
        reply = await client.query("select 1")
        assert (reply.status, reply.json["title"]) == (503, "upstream_unavailable")
        assert "exit code 1" in reply.json["detail"]
        guarded.file.write_text(FIRST)

        async def is_served():
            return (await client.query("select 1")).status == 200

        await poll(is_served, "it isn't run again")


async def test_program_that_fails_later_leaves_the_password_that_worked(guarded, tmp_path):
    settings = {"password_command": guarded.print_file(tmp_path), "password_life_s": 1}
    async with guarded.serve(upstream=settings, pool={"max_age_s": 1}) as client:
        guarded.file.unlink()

        async def has_failed():
            opened = await count(client, "connection_opened")
            assert (await client.query("select 1")).status == 200
            return opened > 3 and await count(client, "password_unreadable") > 0

        await poll(has_failed, "it isn't run again")


HANGS_LATER = """
import os, sys, time
file, pid = sys.argv[1:]
if not os.path.exists(file):
    open(pid + ".new", "w").write(str(os.getpid()))
    os.rename(pid + ".new", pid)
    time.sleep(60)
print(open(file).read())
"""


@pytest.mark.parametrize("name", ["dsn", "session_dsn"])
async def test_service_that_stops_ends_the_program(guarded, tmp_path, name):
    pid = tmp_path / "pid"
    program = [sys.executable, "-c", HANGS_LATER, str(guarded.file), str(pid)]
    upstream = {"password_command": program, "password_life_s": 1, name: guarded.upstream.dsn}
    async with guarded.serve(
        upstream=upstream | {"recheck_s": 300, "password_timeout_s": 60}
    ) as client:
        guarded.file.unlink()

        async def is_running():
            with suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.get("/v1/listen?channel=news")
            return pid.exists()

        await poll(is_running, "the program doesn't run")
        running = int(pid.read_text())
        assert is_alive(running)

    async def has_ended():
        return not is_alive(running)

    await poll(has_ended, "it runs on")
