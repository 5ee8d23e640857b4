"""Log lines on standard output: one JSON object or one line of text for each record.

`logger.info("request", extra={"fields": {"status": 200}})` adds members of its own.
"""

import json
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from logging import INFO
from time import time
from typing import Any, Protocol, TypeAlias

import orjson

STDOUT = 1
REQUEST_LOGGER = "pgsidecar.request"
_REQUEST_HEAD = {"level": "info", "logger": REQUEST_LOGGER, "msg": "request"}
_QUEUE_LINES = 10_000
_BATCH_BYTES = 64 * 1024
_BATCH_S = 0.01  # lines are collected so long, since a thread that wakes for each costs the most
_CLOSE_DEADLINE_S = 1.0
_MASK = "•••"
_URL_PASSWORD = re.compile(
    r"(//[^\s:/@]*:)"  # up to the password: //user:
    r"(?!\d{1,5}(?:[/?#,]|$))"  # unless it is a port
    r"\S*(?=@)"  # to the last @, since people forget to encode the first
)
_NAMED_PASSWORD = re.compile(
    r"""(passw(?:or)?d['"]?(?:\s*[=:]\s*|\s+(?=')))('(?:[^'\\]|\\.|'')*'|"[^"]*"|[^\s&;,'"]+)""",
    re.IGNORECASE,
)

Fields: TypeAlias = Mapping[str, str | int | float | None]


class LogOptions(Protocol):
    """What `configure` needs of the settings."""

    @property
    def level(self) -> str:
        """Least level, in lower case."""

    @property
    def format(self) -> str:
        """Either json or text."""


def configure(options: LogOptions) -> None:
    """Send the records of every logger to standard output, in place of earlier handlers."""
    handler = LineHandler(STDOUT, _QUEUE_LINES)
    handler.setFormatter(TextFormatter() if options.format == "text" else JsonFormatter())
    # nobody's format has them, and finding them takes as long as the rest of a record
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001  # documented: callers aren't looked for
    logging.basicConfig(level=options.level.upper(), handlers=[handler], force=True)


def open_request_log() -> Callable[[Fields], None]:
    """Make what writes the line of each request.

    Where all lines go to our own handler as JSON, it writes there past the logging module, whose
    records cost as much as everything else about a small query.
    """
    logger = logging.getLogger(REQUEST_LOGGER)
    handlers = logging.getLogger().handlers
    match handlers:
        case [LineHandler(formatter=JsonFormatter()) as handler] if logger.isEnabledFor(INFO):
            return partial(_write_request, handler)
    return lambda fields: logger.info("request", extra={"fields": fields})


def _write_request(handler: "LineHandler", fields: Fields) -> None:
    tail = {"dropped": handler.dropped} if handler.dropped else {}
    handler.write_line(orjson.dumps({"ts": _write_time(time()), **_REQUEST_HEAD, **fields, **tail}))


def redact(text: str) -> str:
    """Mask passwords in URLs (`//user:secret@`) and assignments (`password=secret`)."""
    if "@" not in text and "passw" not in text.lower():
        return text  # sooner said than the expressions do
    return _NAMED_PASSWORD.sub(_mask, _URL_PASSWORD.sub(_mask, text))


class JsonFormatter(logging.Formatter):
    """One JSON object: ts, level, logger, msg, the record's fields, exception, dropped."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the object; a field can't replace a member of ours."""
        head = {
            "ts": _write_time(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": redact(record.getMessage()),
        }
        members = {**head, **_read_fields(record), **head}
        return _dump(members | _read_tail(self, record))


class TextFormatter(logging.Formatter):
    """One line for people: time, level, logger, message, fields; a traceback follows it."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the line."""
        tail = _read_tail(self, record)
        trace = tail.pop("exception", None)
        members = "".join(
            f" {name}={value}" for name, value in (_read_fields(record) | tail).items()
        )
        start = f"{_write_time(record.created)} {record.levelname:<7} {record.name}"
        line = f"{start}: {redact(record.getMessage())}{members}"
        return f"{line}\n{trace}" if trace else line


class LineHandler(logging.Handler):
    """Writes lines to a file descriptor from a thread, so that a blocked reader stops nobody.

    Lines that find the queue full are dropped; the next one that gets through counts them in
    `dropped`. It writes past sys.stdout, whose lock a blocked thread would hold for ever.
    """

    def __init__(self, descriptor: int, capacity: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._capacity = capacity
        self._lines: deque[bytes] = deque()
        self.dropped = 0
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record's line; callers hold the handler's lock."""
        record.dropped = self.dropped
        self.write_line(self.format(record).encode(errors="backslashreplace"))

    def write_line(self, line: bytes) -> None:
        """Queue a line."""
        if len(self._lines) >= self._capacity:
            self.dropped += 1
            return
        self.dropped = 0
        self._lines.append(line + b"\n")
        if not self._wake.is_set():
            self._wake.set()

    def close(self) -> None:
        """Write what is queued, for a second at most."""
        self._closing.set()
        self._wake.set()
        self._writer.join(_CLOSE_DEADLINE_S)
        super().close()

    def _write(self) -> None:
        while self._lines or not self._closing.is_set():
            self._wake.wait()
            self._wake.clear()
            while self._lines:
                _write_all(self._descriptor, self._take())
            self._closing.wait(_BATCH_S)

    def _take(self) -> bytes:
        batch = bytearray()
        while self._lines and len(batch) < _BATCH_BYTES:
            batch += self._lines.popleft()
        return bytes(batch)


def _write_all(descriptor: int, line: bytes) -> None:
    """Write `line`, or what its reader still takes: a log without a reader is no failure."""
    try:
        while line:
            line = line[os.write(descriptor, line) :]
    except OSError:
        return


def _mask(match: re.Match[str]) -> str:
    return f"{match[1]}{_MASK}"


def _write_time(created_s: float) -> str:
    """Write a time in UTC with milliseconds."""
    second = int(created_s)
    return f"{_write_second(second)}.{int((created_s - second) * 1000):03d}Z"


@lru_cache(4)
def _write_second(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).isoformat(timespec="seconds").removesuffix("+00:00")


def _read_fields(record: logging.LogRecord) -> dict[str, Any]:  # Any: whatever callers log
    fields: Mapping[str, Any] = getattr(record, "fields", {})
    return {
        name: redact(value) if isinstance(value, str) else value for name, value in fields.items()
    }


def _read_tail(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    """Collect what only some records have: their exception, and lines dropped before them."""
    tail: dict[str, Any] = {}
    if record.exc_info:
        tail["exception"] = redact(formatter.formatException(record.exc_info))
    if dropped := getattr(record, "dropped", 0):
        tail["dropped"] = dropped
    return tail


def _dump(members: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(members, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # a lone surrogate or a number over 64 bits, which json can write
        return json.dumps(members, default=str)
