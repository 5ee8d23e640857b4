"""The command line: serve, query, doctor, config, version. The only reader of the environment."""

import argparse
import importlib.metadata
import json
import logging
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

from proxy import log
from proxy.command import argument
from proxy.command.doctor_argument import add_doctor_arguments
from proxy.command.failure import Failure
from proxy.errors import ProxyError
from proxy.settings import Settings
from proxy.settings_catalogue import list_entries, list_sections, write_toml
from proxy.settings_source import (
    CONFIG_VARIABLE,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    Loaded,
    SettingsError,
    describe_unknown,
    load,
)

SUCCESS, START_FAILED, BAD_SETTINGS, INTERRUPTED = 0, 1, 2, 130
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAMPLE_SQL = "select id, name, balance from users order by id limit 3"
_MASK = "••••"

logger = logging.getLogger("pgsidecar.cli")


@dataclass(frozen=True, slots=True)
class Command:
    """One word of the command line; `run` returns the exit code."""

    name: str
    help: str
    run: Callable[[argparse.Namespace], int]
    takes_settings: bool = True
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None  # of its own
    usage: str = ""  # of these


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments, rest = build_parser().parse_known_args(argv)
    try:
        _refuse(rest, arguments.command)
        code: int = arguments.command.run(arguments)
    except SettingsError as error:
        return _fail(error, BAD_SETTINGS)
    except ProxyError as error:
        return _fail(error.detail, START_FAILED)
    except Failure as failure:
        return _fail("\n".join(failure.lines), failure.code)
    return code


def build_parser() -> argparse.ArgumentParser:
    """Build the parser, with a flag for every setting."""
    parser = _Parser(prog="pgsidecar", description="Postgres over HTTP, behind PgBouncer too.")
    words = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        word = words.add_parser(
            command.name, help=command.help, description=command.help, allow_abbrev=False
        )
        word.set_defaults(command=command)
        if command.takes_settings:
            _add_flags(word)
        if command.add_arguments:
            command.add_arguments(word)
    return parser


class _Parser(argparse.ArgumentParser):
    """Names what it can't parse, which may be a DSN."""

    def error(self, message: str) -> NoReturn:
        super().error(log.redact(message))


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.usage = f"{parser.prog} [--config FILE] [--SECTION.NAME VALUE ...]"
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"TOML file with settings; also {CONFIG_VARIABLE}.",
    )
    groups = {
        name: parser.add_argument_group(name, sentence)
        for name, sentence in list_sections().items()
    }
    for entry in list_entries().values():
        default = "unset" if entry.default is None else json.dumps(entry.default)
        groups[entry.section].add_argument(
            entry.flag,
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help=f"{entry.help} ({entry.form}; default {default})".replace("%", "%%"),
        )


def _refuse(rest: Sequence[str], command: Command) -> None:
    """Refuse leftovers of the command line without repeating values."""
    if not rest:
        return
    if not command.takes_settings:
        raise Failure(
            BAD_SETTINGS,
            f"pgsidecar {command.name}: an argument too many, or an unknown option; "
            f"a statement stands in quotes, `pgsidecar {command.name} --help` has the options",
        )
    known = ["--config", *(entry.flag for entry in list_entries().values())]
    unknown = [word.partition("=")[0] for word in rest if word.startswith("--")]
    if not unknown:
        raise SettingsError(["an argument has no flag before it; write --section.name VALUE"])
    raise SettingsError(describe_unknown(word, known) for word in unknown)


def _load(arguments: argparse.Namespace) -> Loaded:
    config = arguments.config or os.environ.get(CONFIG_VARIABLE)
    flags = {name: text for name, text in vars(arguments).items() if "." in name}
    return load(flags, os.environ, Path(config) if config else None)


def _say(text: object, stream: TextIO | None = None) -> None:
    # in one piece: unbuffered, print writes the line's end on its own, and a log line gets between
    print(f"{text}\n", end="", file=stream, flush=True)


def _fail(reason: object, code: int) -> int:
    _say(reason, sys.stderr)
    return code


def show_version(_arguments: argparse.Namespace) -> int:
    """Print the version."""
    _say(importlib.metadata.version("pgsidecar"))
    return SUCCESS


def show_config(arguments: argparse.Namespace) -> int:
    """Print every setting's value and origin as TOML, secrets masked, warnings on stderr."""
    loaded = _load(arguments)
    values = loaded.settings.model_dump(mode="json")
    for entry in list_entries().values():
        value = values[entry.section][entry.key]
        shown = _MASK if entry.is_secret and value is not None else value
        start = (
            f"# {entry.name} is unset" if shown is None else f"{entry.name} = {write_toml(shown)}"
        )
        _say(f"{start}  # {loaded.origins[entry.name]}")
    for warning in loaded.warnings:
        _say(warning, sys.stderr)
    return SUCCESS


def serve(arguments: argparse.Namespace) -> int:
    """Serve until a signal, on an embedded Postgres where no upstream is given."""
    _leave_on_signal()
    loaded = _load(arguments)
    log.configure(loaded.settings.log)
    for warning in loaded.warnings:
        logger.warning(warning)
    if loaded.settings.upstream.dsn is None:
        return _serve_embedded(loaded.settings)
    return _serve_upstream(loaded.settings, "select version()")


def _serve_embedded(settings: Settings) -> int:
    from proxy.dev import postgres, process  # noqa: PLC0415  # a sidecar never needs them

    data_dir = settings.embedded.data_dir or postgres.default_data_dir()
    with ExitStack() as stack:
        try:
            with postponed_signals():
                server = postgres.EmbeddedPostgres(data_dir, settings.embedded.port)
                stack.enter_context(server)
        except postgres.EmbeddedMissing as error:
            return _fail(error, BAD_SETTINGS)
        except process.StartFailed as error:
            return _fail(error, START_FAILED)
        fields = {"data_dir": str(data_dir), "port": server.port}
        logger.info("no upstream.dsn: an embedded Postgres runs", extra={"fields": fields})
        return _serve_upstream(settings.with_upstream(server.dsn), _SAMPLE_SQL)


def _serve_upstream(settings: Settings, sql: str) -> int:
    from proxy import app  # noqa: PLC0415  # heavy, and the other commands don't need it

    def greet(service: app.Service) -> None:
        _say(f"{write_curl(service.url, sql)}\n{service.operations_url}/ready")

    return app.serve(settings, on_ready=greet)


def write_curl(address: str, sql: str) -> str:
    """Write a line for the shell which runs `sql` on the service at a URL or a socket's path."""
    is_url = address.startswith("http://")
    target = [address] if is_url else ["--unix-socket", address, "http://localhost"]
    target[-1] += "/v1/query"
    body = json.dumps({"sql": sql})
    return shlex.join(["curl", "-s", *target, "-H", "Content-Type: application/json", "-d", body])


def query(arguments: argparse.Namespace) -> int:
    """Run a statement on a running service and print its rows."""
    from proxy.command.query import run_order  # noqa: PLC0415  # its HTTP client is heavy

    try:
        address = arguments.url or _find_address()
        form: argument.FormatName = "table" if sys.stdout.isatty() else "ndjson"
        order = argument.build_order(arguments, address, form)
        token = argument.read_token(arguments.token_file) or os.environ.get(TOKEN_VARIABLE)
        return run_order(replace(order, token=token))
    except KeyboardInterrupt:  # while the statement was read, or the client loaded
        return INTERRUPTED


def _find_address() -> str:
    try:
        return argument.parse_address(os.environ.get(URL_VARIABLE) or argument.DEFAULT_URL)
    except argparse.ArgumentTypeError as error:
        raise Failure(BAD_SETTINGS, f"{URL_VARIABLE}: {error}") from None


def doctor(arguments: argparse.Namespace) -> int:
    """Examine the upstream and the settings; the exit code is the worst finding's."""
    _leave_on_signal()
    loaded = _load(arguments)
    from proxy.command.doctor import run_doctor  # noqa: PLC0415  # heavy

    return run_doctor(loaded, arguments.replicas, is_json=arguments.json, say=_say)


def _leave(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(INTERRUPTED if number == signal.SIGINT else SUCCESS)


def _leave_on_signal() -> None:
    """Stop in order until the service has its own handlers.

    As a container's first process we have no default ones, nor for SIGINT as a script's `&`.
    """
    for number in _STOP_SIGNALS:
        signal.signal(number, _leave)


@contextmanager
def postponed_signals() -> Iterator[None]:
    """Hold signals back while a server starts: only a started one can be stopped in order."""
    received: list[int] = []
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda number, _frame: received.append(number))
    try:
        yield
    finally:
        _leave_on_signal()
        if received:  # also the reason if the start failed: Ctrl-C reaches initdb, too
            _leave(received[0], None)


COMMANDS = (
    Command("serve", "Serve SQL over HTTP until SIGTERM or SIGINT.", serve),
    Command(
        "query",
        "Run a statement on a running service and print its rows.",
        query,
        takes_settings=False,
        add_arguments=argument.add_arguments,
        usage="SQL [OPTION …]",
    ),
    Command(
        "doctor",
        "Examine the upstream and the settings, and say what is wrong and what to do.",
        doctor,
        add_arguments=add_doctor_arguments,
        usage="[--json] [--replicas N]",
    ),
    Command("config", "Print the effective settings and where each comes from.", show_config),
    Command("version", "Print the version.", show_version, takes_settings=False),
)
