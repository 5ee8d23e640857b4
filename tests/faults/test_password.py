"""The password of a login changes on a real server, while the service runs."""

import asyncio
from contextlib import suppress

import pytest

from proxy.engine.password import Password
from proxy.engine.pause import Pause
from proxy.errors import ProxyError, UpstreamAuth
from tests.fixtures.guarded import FIRST, GUARDED, SECOND, WRONG, count, run_guarded
from tests.fixtures.service import assert_nothing_left, poll

POOL = {"size": 3, "overflow": 1}
SHORT = {**POOL, "max_age_s": 1}  # so that connections are opened all the time
SOME = pytest.mark.parametrize("guarded", ["postgres", "transaction"], indirect=True)


@pytest.fixture(params=GUARDED)
async def guarded(request, servers, home, tmp_path_factory):
    """Each kind of server, with a password."""
    folder = home / tmp_path_factory.mktemp("guarded").name
    folder.mkdir()
    folder.chmod(0o755)
    async with run_guarded(servers, request.param, folder) as running:
        yield running


class Load:
    """Sends statements without end; `statuses` are those of all answers."""

    def __init__(self, client):
        self.client = client
        self.statuses = set()

    async def run(self):
        while True:
            self.statuses.add((await self.client.query("select pg_sleep(0.01)")).status)

    async def __aenter__(self):
        self.tasks = [asyncio.create_task(self.run()) for _ in range(4)]
        return self

    async def __aexit__(self, *_):
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)


def has_counted(client, event, least=1):
    async def condition():
        return await count(client, event) >= least

    return condition


async def rotate(client, guarded):
    """Change the file first and the server a while after, and see the service follow."""
    guarded.write(SECOND)
    await poll(has_counted(client, "password_refused"), "the new password isn't tried")
    await poll(has_opened_more(client, await count(client, "connection_opened")), "nobody gets in")
    await guarded.set(SECOND)
    await poll(has_counted(client, "password_changed"), "the new password isn't used")


def has_opened_more(client, before):
    return has_counted(client, "connection_opened", before + 1)


async def test_rotation_under_load_fails_no_request(guarded):
    async with guarded.serve(pool=SHORT) as client:
        async with Load(client) as load:
            await rotate(client, guarded)
            opened = await count(client, "connection_opened")
            await poll(has_opened_more(client, opened), "no new ones")
        assert load.statuses == {200}
        await assert_nothing_left(client, guarded.upstream)


@SOME
async def test_without_the_last_good_password_rotation_fails_requests(guarded, monkeypatch):
    async def forget(_self, _rejected):
        return None

    async with guarded.serve(pool=SHORT) as client, Load(client) as load:
        monkeypatch.setattr(Password, "_recall", forget)
        guarded.write(SECOND)

        async def has_failed():
            return 502 in load.statuses

        await poll(has_failed, "nothing fails")


async def test_connections_of_the_old_password_retire_and_drop_no_work(guarded):
    pool = {**POOL, "max_age_s": 24}
    async with guarded.serve(pool=pool) as client:
        running = asyncio.create_task(client.query("select pg_sleep(3)"))
        await asyncio.gather(*(client.value("select pg_sleep(0.05)") for _ in range(4)))
        opened = await count(client, "connection_opened")
        await guarded.set(SECOND)
        guarded.write(SECOND + "\r\n")
        await poll(has_counted(client, "password_changed"), "the new password isn't used")
        assert not running.done()
        await poll(has_counted(client, "connection_retired", opened - 1), "an old one stays")
        assert (await running).status == 200


async def test_refused_password_is_not_hammered(guarded):
    async with guarded.serve(pool=SHORT) as client:
        await break_in(client, guarded)
        before = await count(client, "password_refused")
        replies = [await client.query("select 1") for _ in range(40)]
        assert {reply.json["title"] for reply in replies} == {"upstream_auth"}
        assert await count(client, "password_refused") - before < 8
        await guarded.set(SECOND)
        guarded.write(SECOND)
        assert await client.value("select 1") == 1  # another one is tried at once


@SOME
async def test_without_pauses_it_would_be_hammered(guarded, monkeypatch):
    async with guarded.serve(pool=SHORT) as client:
        monkeypatch.setattr(Pause, "is_over", True)
        await break_in(client, guarded)
        before = await count(client, "password_refused")
        for _ in range(40):
            await client.query("select 1")
        assert await count(client, "password_refused") - before >= 40


async def break_in(client, guarded):
    """Leave the service without a password that holds, and without a connection."""
    await guarded.set(SECOND)
    guarded.write(WRONG)

    async def has_none():
        await client.query("select 1")
        return await count(client, "connection_retired") == await count(client, "connection_opened")

    await poll(has_none, "a connection outlives its age")


@SOME
@pytest.mark.parametrize("text", [WRONG, "", "two\nlines", "x" * 20_000])
async def test_rubbish_in_the_file_changes_nothing(guarded, text):
    async with guarded.serve(pool=SHORT) as client, Load(client) as load:
        guarded.write(text)
        event = "password_refused" if text == WRONG else "password_unreadable"
        await poll(has_counted(client, event), "nobody has looked")
        await poll(has_opened_more(client, await count(client, "connection_opened")), "none opened")
        guarded.file.unlink()
        await poll(has_counted(client, "password_unreadable"), "nobody has looked")
        await poll(has_opened_more(client, await count(client, "connection_opened")), "none opened")
        assert load.statuses == {200}


async def test_wrong_password_at_the_start_stops_it(guarded):
    guarded.write(WRONG)
    with pytest.raises(UpstreamAuth):
        async with guarded.serve():
            pass


async def test_refused_output_of_the_program_is_renewed_once(guarded, tmp_path):
    settings = {"password_command": guarded.print_file(tmp_path), "recheck_s": 300}
    async with guarded.serve(upstream=settings, pool=SHORT) as client:
        assert await client.value("select 1") == 1
        await guarded.set(SECOND)
        guarded.write(SECOND)
        await poll(lambda: has_run(client, tmp_path, 2), "the program isn't run again")
        assert await client.value("select 1") == 1
        assert (tmp_path / "runs").read_text() == "xx"
        assert await count(client, "request_failed") == 0


async def has_run(client, folder, times):
    with suppress(ProxyError):
        await client.query("select 1")
    return len((folder / "runs").read_text()) >= times


@SOME
async def test_output_of_the_program_is_renewed_before_its_life_ends(guarded, tmp_path):
    settings = {"password_command": guarded.print_file(tmp_path), "password_life_s": 1}
    async with guarded.serve(upstream=settings, pool=SHORT) as client:
        await poll(lambda: has_run(client, tmp_path, 3), "the program isn't run again")
        assert await count(client, "request_failed") == 0
        assert await count(client, "password_changed") == 0
        assert FIRST not in str((await client.operations("/stats")).body)
