"""The commands of docs/how-to/rotate-passwords.md, as they stand there."""

import asyncio
import os
import re
import shlex
import stat
from pathlib import Path

import aiohttp
import pytest

from tests.fixtures.guarded import FIRST, SECOND, run_guarded
from tests.fixtures.program import run_program
from tests.fixtures.service import observe, poll

GUIDE = Path(__file__).parents[2] / "docs/how-to/rotate-passwords.md"
BLOCK = re.compile(r"^( *)```(sh|sql)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
ADDRESS = "postgresql://app@db.internal/app"


@pytest.fixture
async def guarded(servers, home, tmp_path_factory):
    """Postgres with a password."""
    folder = home / tmp_path_factory.mktemp("guide").name
    folder.mkdir()
    folder.chmod(0o755)
    async with run_guarded(servers, "postgres", folder) as running:
        yield running


async def test_commands_of_the_guide_rotate_a_password(guarded, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (keep, serve), (replace,), (alter,) = (read_lines(block) for block in BLOCK.findall(read()))
    await run_shell(keep, APP_PASSWORD=FIRST)
    flags = shlex.split(serve.replace(ADDRESS, guarded.upstream.dsn))
    assert flags[:2] == ["pgsidecar", "serve"]
    async with (
        run_program(*flags[2:], "--upstream.recheck_s=0.1") as program,
        aiohttp.ClientSession() as session,
    ):
        await run_shell(replace, NEW_PASSWORD=SECOND)
        assert stat.S_IMODE((tmp_path / "password").stat().st_mode) == 0o600
        async with observe(guarded.upstream) as admin:
            await admin.execute(alter.replace("the new one", SECOND))

        async def has_changed() -> bool:
            async with session.get(f"{program.operations_url}/stats") as stats:
                return (await stats.json())["events"]["password_changed"]["count"] == 1

        await poll(has_changed, "it isn't taken")


def read() -> str:
    return GUIDE.read_text(encoding="utf-8")


def read_lines(block: tuple[str, str, str]) -> list[str]:
    return [line.strip() for line in block[2].splitlines()]


async def run_shell(command: str, **variables: str) -> None:
    environment = {**os.environ, **variables}
    process = await asyncio.create_subprocess_exec("sh", "-ec", command, env=environment)
    assert await process.wait() == 0
