"""What can be a password, from a file and from a real program."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from proxy.engine.secret import SecretCommand, SecretFile
from proxy.errors import UpstreamAuth, UpstreamUnavailable
from tests.fixtures.process import is_alive
from tests.fixtures.service import poll

LEAK = "leaked-Passw0rd"


def run_python(text: str, *args: object, life_s: float = 900, timeout_s: float = 10):
    """A source that runs a program in Python."""
    return SecretCommand([sys.executable, "-c", text, *map(str, args)], life_s, timeout_s)


def write_bytes(data: bytes) -> str:
    return f"import sys; sys.stdout.buffer.write({data!r})"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "password"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
async def test_line_break_at_the_end_of_the_file_is_not_the_passwords(file, end):
    file.write_bytes(" pä ss ".encode() + end)
    assert await SecretFile(file, "upstream.password_file").read(None) == " pä ss "


RUBBISH = {
    b"": "is empty",
    b"\n": "is empty",
    f"{LEAK}\0".encode(): "control character",
    LEAK.encode() + b"\xff": "isn't UTF-8",
    LEAK.encode() * 2000: "more than",
}


@pytest.mark.parametrize("data", [*RUBBISH, f"{LEAK}\n\n".encode(), f"{LEAK}\n{LEAK}".encode()])
async def test_file_that_holds_no_password_is_named_without_what_it_holds(file, data):
    file.write_bytes(data)
    with pytest.raises(UpstreamAuth) as refused:
        await SecretFile(file, "upstream.password_file").read(None)
    assert RUBBISH.get(data, "line break") in refused.value.detail
    assert str(file) in refused.value.detail
    assert LEAK not in repr(refused.getrepr(showlocals=False, chain=True))


async def test_file_that_is_not_there_says_so(file):
    with pytest.raises(UpstreamAuth, match="can't be read: No such file"):
        await SecretFile(file, "upstream.password_file").read(None)


async def test_pipe_is_not_waited_for(file):
    os.mkfifo(file)
    with pytest.raises(UpstreamAuth, match="is no file"):
        async with asyncio.timeout(5):
            await SecretFile(file, "upstream.password_file").read(None)


async def test_first_line_of_the_programs_output_is_the_password():
    assert await run_python("print('first'); print('second')").read(None) == "first"


@pytest.mark.parametrize("data", RUBBISH)
async def test_program_that_prints_none_is_refused_without_what_it_prints(data):
    with pytest.raises(UpstreamAuth) as refused:
        await run_python(write_bytes(data)).read(None)
    assert RUBBISH[data] in refused.value.detail
    assert refused.value.detail.startswith("upstream.password_command: ")
    assert LEAK not in repr(refused.getrepr(showlocals=False, chain=True))


async def test_program_that_prints_without_end_is_ended():
    with pytest.raises(UpstreamAuth, match="more than"):
        await run_python(f"while True: print({LEAK!r}, flush=True)").read(None)


async def test_program_that_fails_is_said_to_fail_without_its_words():
    text = f"import sys; print({LEAK!r}); print({LEAK!r}, file=sys.stderr); sys.exit(3)"
    with pytest.raises(UpstreamUnavailable) as failed:
        await run_python(text).read(None)
    assert failed.value.detail.endswith("failed with exit code 3")


async def test_program_that_is_not_there_is_a_mistake_of_the_configuration():
    with pytest.raises(UpstreamAuth, match="can't be started: No such file"):
        await SecretCommand(["/nowhere/program"], 900, 10).read(None)


HANG = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(sys.argv[1] + ".new", "w").write(f"{child.pid}")
import os; os.rename(sys.argv[1] + ".new", sys.argv[1])
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("sleep_s", [60, 0])  # it hangs itself, or leaves a child behind
async def test_program_that_hangs_is_ended_with_what_it_has_started(file, sleep_s):
    with pytest.raises(UpstreamUnavailable, match="isn't done"):
        await run_python(HANG, file, sleep_s, timeout_s=1.5).read(None)
    await poll(lambda: has_ended(file), "its child runs on")


async def has_ended(file: Path) -> bool:
    return not is_alive(int(read(file)))


def read(file: Path) -> str:
    return file.read_text()


async def test_closing_ends_a_program_that_runs(file):
    secret = run_python(HANG, file, 60, timeout_s=60)
    waiting = asyncio.create_task(secret.read(None))

    async def has_begun() -> bool:
        return file.exists()

    await poll(has_begun, "it doesn't run")
    await secret.close()
    await poll(lambda: has_ended(file), "its child runs on")
    with pytest.raises(UpstreamUnavailable):
        await waiting


NOTE = "import sys; open(sys.argv[1], 'a').write('x'); print('word')"


async def test_program_runs_once_for_all_who_ask(file):
    secret = run_python(NOTE, file)
    first = asyncio.create_task(secret.read(None))
    others = [asyncio.create_task(secret.read(None)) for _ in range(20)]
    await asyncio.sleep(0)
    first.cancel()  # whoever goes away doesn't end it for the others
    assert set(await asyncio.gather(*others)) == {"word"}
    assert await secret.read("another") == "word"
    assert file.read_text() == "x"


async def test_refused_password_has_the_program_run_again(file):
    secret = run_python(NOTE, file)
    assert await secret.read(None) == "word"
    assert await secret.read("word") == "word"
    assert file.read_text() == "xx"


async def test_program_that_fails_is_not_run_again_at_once(file):
    secret = run_python(NOTE + "; sys.exit(1)", file)
    for _ in range(5):
        with pytest.raises(UpstreamUnavailable):
            await secret.read(None)
    assert file.read_text() == "x"
    await poll(lambda: has_run_again(secret, file), "it's never run again")


async def has_run_again(secret: SecretCommand, file: Path) -> bool:
    with pytest.raises(UpstreamUnavailable):
        await secret.read(None)
    return len(read(file)) > 1
