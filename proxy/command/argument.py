"""The arguments of `pgsidecar query`, and the request that they mean."""

import re
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias, get_args
from urllib.parse import quote

from msgspec import DecodeError, Raw
from msgspec.json import Decoder, encode

from proxy.command.failure import refuse

FormatName: TypeAlias = Literal["table", "json", "ndjson", "csv"]
DEFAULT_URL = "http://127.0.0.1:7432"
TABLE_ROWS = 1000  # a person scrolls no further
SQL_BYTES = 64 * 1024 * 1024
_PARAM = re.compile(r"([^\W\d]\w*)?(:?=)(.*)", re.DOTALL)
_ADDRESS = re.compile(r"https?://[^/]|(unix:)?/")
_decode_raw = Decoder(Raw).decode


class Param(NamedTuple):
    """One parameter; without a name it's the next of $1, $2, …"""

    name: str | None
    value: Raw


@dataclass(frozen=True, slots=True)
class Order:
    """A request, and how its answer is shown.

    `url` is the service's, or `unix:` and a path; `path` has the query string, too.
    """

    url: str
    path: str
    body: bytes
    format: FormatName
    timeout_s: float | None = None
    is_streamed: bool = True
    token: str | None = field(default=None, repr=False)


def parse_param(text: str) -> Param:
    """Read `text`, `name=text`, `name:=json`; `=text` and `:=json` have no name."""
    match = _PARAM.fullmatch(text)
    name, sign, value = match.groups() if match else (None, "=", text)
    try:
        return Param(name, Raw(encode(value)) if sign == "=" else _decode_raw(value))
    except UnicodeEncodeError:
        raise ArgumentTypeError("the value is not UTF-8") from None
    except (DecodeError, RecursionError):
        raise ArgumentTypeError(
            "what stands behind := is not JSON; a text stands behind =, NULL is :=null"
        ) from None


def parse_seconds(text: str) -> float:
    """Read a time."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not (isfinite(seconds) and seconds > 0):
        raise ArgumentTypeError("it takes seconds, such as 2.5")
    return seconds


def parse_address(text: str) -> str:
    """Read a service's address, without a slash at its end."""
    if not _ADDRESS.match(text):
        raise ArgumentTypeError("it takes http://HOST:PORT or unix:/PATH")
    return text.rstrip("/")


def add_arguments(parser: ArgumentParser) -> None:
    """Give the command its arguments."""
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("sql", nargs="?", metavar="SQL", help="the statement")
    source.add_argument("--file", metavar="FILE", help="take it from a file; - is standard input")
    source.add_argument("--named", metavar="NAME", help="run the saved query of this name")
    add = parser.add_argument
    form = "one parameter: TEXT, NAME=TEXT, NAME:=JSON, =TEXT or :=JSON; repeat it"
    add("--param", action="append", default=[], type=parse_param, metavar="PARAM", help=form)
    form = "table on a terminal, else ndjson, if it isn't given"
    add("--format", choices=get_args(FormatName), help=form)
    address = f"http://HOST:PORT or unix:/PATH; also PGSIDECAR_URL; by default {DEFAULT_URL}"
    add("--url", type=parse_address, metavar="URL", help=address)
    add("--token-file", metavar="FILE", help="holds the client's token; also PGSIDECAR_TOKEN")
    add("--timeout", type=parse_seconds, metavar="SECONDS", help="time for the whole statement")
    add("--tag", metavar="TAG", help="label for statistics and log")
    add("--role", metavar="ROLE", help="role that the statement runs as")
    add("--read-only", action="store_true", help="let the server refuse every write")


def build_order(arguments: Namespace, url: str, default_format: FormatName) -> Order:
    """Make the request.

    Raises:
        Failure: the arguments don't go together, or the file can't be read.
    """
    shown: FormatName = arguments.format or default_format
    is_streamed = arguments.named is None
    try:
        body = encode(_list_members(arguments, shown))
    except UnicodeEncodeError:
        raise refuse("an argument is not UTF-8") from None
    path = "/v1/stream" if is_streamed else f"/v1/named/{quote(arguments.named, safe='')}"
    if is_streamed:
        path += f"?format={'csv' if shown == 'csv' else 'ndjson'}"
    return Order(url, path, body, shown, arguments.timeout, is_streamed)


def read_token(file: str | None) -> str | None:
    """Read the first line of a file; an argument itself would show in the list of processes.

    Raises:
        Failure: it can't be read.
    """
    if file is None:
        return None
    try:
        return Path(file).read_text("ascii").partition("\n")[0].strip()
    except OSError as error:
        raise refuse(f"--token-file: {error.strerror}") from None
    except UnicodeDecodeError:
        raise refuse("--token-file: it holds no token") from None


def _list_members(arguments: Namespace, shown: FormatName) -> dict[str, object]:
    members: dict[str, object] = {}
    if arguments.named is None:
        members["sql"] = read_sql(arguments.file) if arguments.file is not None else arguments.sql
    if arguments.param:
        members["params"] = join_params(arguments.param, is_named=arguments.named is not None)
    if arguments.timeout:
        members["timeout_ms"] = max(1, round(arguments.timeout * 1000))
    if arguments.read_only:
        if arguments.named is not None:
            raise refuse("--read-only: a saved query says in its file whether it only reads")
        members["read_only"] = True
    if shown in {"table", "csv"}:
        members["rows"] = "arrays"
    if shown == "table":
        members["limits"] = {"rows": TABLE_ROWS, "on_exceed": "truncate"}
    optional = {"tag": arguments.tag, "role": arguments.role}
    return members | {name: value for name, value in optional.items() if value is not None}


def join_params(params: Sequence[Param], *, is_named: bool) -> list[Raw] | dict[str, Raw]:
    """Put parameters together, by position or by name.

    Raises:
        Failure: some have a name and some don't, a name is there twice, or all need one.
    """
    named = {param.name: param.value for param in params if param.name is not None}
    if not named and not is_named:
        return [param.value for param in params]
    if len(named) == len(params):
        return named
    if is_named:
        raise refuse("--param: each parameter of a saved query needs its name, once: NAME=TEXT")
    raise refuse(
        "--param: give each by its name, once, or all by position; "
        "a text by position that looks like NAME=… is written =NAME=…"
    )


def read_sql(name: str) -> str:
    """Read a statement from a file, or from standard input as `-`.

    Raises:
        Failure: it can't be read, is no text or too long.
    """
    try:
        with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as file:
            data = file.read(SQL_BYTES + 1)
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise refuse(f"--file: it can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise refuse("--file: it is not UTF-8") from None
    if len(data) > SQL_BYTES:
        raise refuse(f"--file: it has more than {SQL_BYTES} bytes; send long values as parameters")
    return text
