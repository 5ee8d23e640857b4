"""How the session is delivered is shown by name, and never with a value."""

import logging

import pytest

from tests.fixtures.service import run_client

pytestmark = pytest.mark.matrix

SECRET = "hunter2"
SESSION = {
    "time_zone": "Asia/Tokyo",
    "settings": {"app.secret": SECRET, "work_mem": "4321kB"},
    "hooks": [f"set app.password = '{SECRET}'"],
}
VALUES = (SECRET, "Tokyo", "4321kB")  # a bare number may stand in a time


@pytest.fixture
def delivery(upstream):
    way = "connect hook" if upstream.kind == "postgres" else "flight"
    names = ("app.secret", "work_mem", "app.password")
    return {"TimeZone": "startup", **dict.fromkeys(names, way)}


async def test_the_statistics_show_how_the_session_is_delivered(upstream, delivery):
    async with run_client(upstream, session=SESSION) as client:
        reply = await client.operations("/stats")
    assert reply.json["session"] == delivery
    assert not any(value in reply.body.decode() for value in VALUES)


async def test_the_line_at_the_start_shows_how_the_session_is_delivered(upstream, delivery, caplog):
    caplog.set_level(logging.DEBUG)
    async with run_client(upstream, session=SESSION):
        pass
    (line,) = [record for record in caplog.records if record.getMessage() == "upstream"]
    assert line.fields["session"] == delivery
    assert not any(value in str(vars(record)) for record in caplog.records for value in VALUES)


async def test_an_unconfigured_session_is_shown_as_empty(upstream):
    async with run_client(upstream) as client:
        assert (await client.operations("/stats")).json["session"] == {}
