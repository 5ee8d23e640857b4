"""Log lines: their form, masked passwords, and a reader that stops reading."""

import io
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime

import pytest

from proxy import log
from proxy.log import JsonFormatter, LineHandler, TextFormatter, redact
from tests.fixtures.process import wait_until

PIPE_LINES = 10_000  # more than a pipe's 64 KiB hold


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a pipe."""
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        with suppress(OSError):  # some tests close one themselves
            os.close(end)


def make_record(message="hello", *args, exc_info=None, **members) -> logging.LogRecord:
    record = logging.LogRecord("pgsidecar.x", logging.INFO, __file__, 1, message, args, exc_info)
    record.__dict__.update(members)
    return record


def write_json(*args, **members) -> dict:
    line = JsonFormatter().format(make_record(*args, **members))
    assert "\n" not in line
    return json.loads(line)


def make_error(message: str):
    try:
        secret_local = message  # noqa: F841  # a traceback with locals would show it
        raise ValueError("postgresql://u:hunter2@h/d\nsecond line")  # noqa: TRY301  # to be caught
    except ValueError:
        return sys.exc_info()


def test_record_is_one_json_object():
    line = write_json("hello %s", "world")
    assert (line["level"], line["logger"], line["msg"]) == ("info", "pgsidecar.x", "hello world")
    assert set(line) == {"ts", "level", "logger", "msg"}


def test_time_is_utc_with_milliseconds():
    assert write_json(created=1_700_000_000.25)["ts"] == "2023-11-14T22:13:20.250Z"
    assert datetime.fromisoformat(write_json()["ts"]).tzinfo


def test_fields_become_members():
    assert write_json(fields={"status": 200, "total_ms": 1.5})["status"] == 200


def test_field_cannot_replace_the_message():
    line = write_json(fields={"msg": "forged", "level": "forged"})
    assert (line["msg"], line["level"]) == ("hello", "info")


@pytest.mark.parametrize("value", ["\ud800", 2**70, object(), {1: 2}])
def test_field_that_json_lacks_costs_no_line(value):
    assert write_json(fields={"odd": value})["msg"] == "hello"


def test_exception_is_one_string_without_locals_and_passwords():
    text = write_json("failed", exc_info=make_error("local_hunter"))["exception"]
    assert text.startswith("Traceback")
    assert text.endswith("second line")
    assert "hunter" not in text


def test_text_is_one_line_for_people():
    line = TextFormatter().format(make_record(created=0, fields={"status": 200}))
    assert line == "1970-01-01T00:00:00.000Z INFO    pgsidecar.x: hello status=200"


def test_text_has_the_traceback_below():
    first, *trace = TextFormatter().format(make_record(exc_info=make_error(""))).splitlines()
    assert first.endswith("hello")
    assert trace[0].startswith("Traceback")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("postgresql://user:secret@h/d", "postgresql://user:•••@h/d"),
        ("to //:secret@h now", "to //:•••@h now"),
        ("//u:se@cr/et@h:5432/d", "//u:•••@h:5432/d"),
        ("//u:123secret@h", "//u:•••@h"),
        ("host=h password=secret user=u", "host=h password=••• user=u"),
        ("PASSWORD = 'it is' x", "PASSWORD = ••• x"),
        ("?sslpassword=secret&a=b", "?sslpassword=•••&a=b"),
        ("{'password': 'secret', 'a': 1}", "{'password': •••, 'a': 1}"),
        ("alter user u password 'se''cret'", "alter user u password •••"),
        ("passwd=secret", "passwd=•••"),
    ],
)
def test_password_is_masked(text, masked):
    assert redact(text) == masked


@pytest.mark.parametrize(
    "text",
    [
        "http://h:80/x?mail=a@b",
        "//u@h:5432/d",
        'password authentication failed for user "u"',
        "see http://localhost:7432",
    ],
)
def test_text_without_a_password_stays(text):
    assert redact(text) == text


def test_message_and_fields_are_redacted():
    line = write_json("//u:hunter2@h", fields={"dsn": "password=hunter2"})
    assert "hunter2" not in json.dumps(line)


def test_blocked_reader_delays_nobody_and_the_next_line_counts_the_dropped(pipe):
    reader, writer = pipe
    handler = LineHandler(writer, capacity=10)
    handler.setFormatter(JsonFormatter())
    begin = time.monotonic()
    for number in range(PIPE_LINES):
        handler.handle(make_record(fields={"number": number}))
    assert time.monotonic() - begin < 5  # forever, if it waited for the reader
    with open(reader, closefd=False, encoding="utf-8") as lines:
        received = drain(lines, handler)
    written = [line["number"] for line in received]
    assert written == sorted(written)
    assert sum(line.get("dropped", 0) for line in received) + len(written) == PIPE_LINES + 1


def drain(lines: io.TextIOWrapper, handler: LineHandler) -> list[dict]:
    """Read until a line that was logged after the reader came back."""
    received = [json.loads(lines.readline())]
    wait_until(lambda: not handler._lines)
    handler.handle(make_record(fields={"number": PIPE_LINES}))
    while received[-1]["number"] != PIPE_LINES:
        received.append(json.loads(lines.readline()))
    handler.close()
    return received


def test_close_writes_what_is_queued(pipe):
    reader, writer = pipe
    handler = LineHandler(writer, capacity=10)
    handler.handle(make_record())
    handler.close()
    assert os.read(reader, 100) == b"hello\n"


def test_close_gives_a_blocked_reader_up(pipe, monkeypatch):
    monkeypatch.setattr(log, "_CLOSE_DEADLINE_S", 0.1)
    handler = LineHandler(pipe[1], capacity=10)
    # so many in a row that the writer can't just be slow
    wait_until(lambda: handler.handle(make_record("x" * 10_000)) and handler.dropped >= 20)
    handler.close()
    assert handler._writer.is_alive()
    os.close(pipe[0])
    handler.close()
    assert not handler._writer.is_alive()


def test_reader_that_has_gone_is_no_failure(pipe):
    reader, writer = pipe
    handler = LineHandler(writer, capacity=10)
    os.close(reader)
    handler.handle(make_record())
    handler.close()
    assert not handler._writer.is_alive()


@pytest.mark.parametrize(
    ("form", "start"), [("json", '{"ts":'), ("text", "20")], ids=["json", "text"]
)
def test_configured_process_logs_to_stdout_from_its_level_on(form, start):
    program = f"""
import logging
from types import SimpleNamespace
from proxy.log import configure
configure(SimpleNamespace(level="debug", format="json"))
configure(SimpleNamespace(level="warning", format="{form}"))
logging.getLogger("pgsidecar").info("unseen")
logging.getLogger("pgsidecar").warning("seen")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    assert line.startswith(start)
    assert "seen" in line


def test_the_line_of_a_request_is_the_same_past_the_logging_module(pipe, monkeypatch):
    reader, writer = pipe
    fields = {"request_id": "r1", "status": 200, "total_ms": 1.5}
    written = []
    for has_another in (False, True):
        handler = LineHandler(writer, capacity=10)
        handler.setFormatter(JsonFormatter())
        others = [logging.NullHandler()] if has_another else []
        monkeypatch.setattr(logging.getLogger(), "handlers", [handler, *others])
        monkeypatch.setattr(logging.getLogger(log.REQUEST_LOGGER), "level", logging.INFO)
        log.open_request_log()(fields)
        handler.close()
        line = json.loads(os.read(reader, 1000))
        written.append({**line, "ts": len(line["ts"])})
    assert written[0] == written[1]
    assert list(written[0]) == [
        *("ts", "level", "logger", "msg"),
        *("request_id", "status", "total_ms"),
    ]


def test_the_line_of_a_request_counts_the_dropped(pipe, monkeypatch):
    reader, writer = pipe
    handler = LineHandler(writer, capacity=10)
    handler.setFormatter(JsonFormatter())
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    monkeypatch.setattr(logging.getLogger(log.REQUEST_LOGGER), "level", logging.INFO)
    handler.dropped = 7
    log.open_request_log()({"status": 200})
    handler.close()
    assert json.loads(os.read(reader, 1000))["dropped"] == 7
