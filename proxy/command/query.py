"""`pgsidecar query`: one request to a running service, and its answer on standard output."""

import asyncio
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager

import aiohttp
from msgspec import DecodeError, Raw, Struct
from msgspec.json import Decoder, decode

from proxy.command import failure
from proxy.command.argument import FormatName, Order
from proxy.command.failure import CLOSED_PIPE, DONE, UNCERTAIN, Failure, lose, refuse
from proxy.command.output import Output, OutputClosed, say
from proxy.command.printer import CsvPrinter, JsonPrinter, NdjsonPrinter, Notice, Outcome, Printer
from proxy.command.table import TablePrinter
from proxy.command.text import escape_controls
from proxy.log import redact

CONNECT_S = 10.0
GRACE_S = 10.0  # beyond the statement's time: the service says what became of it
LONGEST_S = 604_800.0  # that a service lets a stream live
PRINTERS: Mapping[FormatName, Callable[[], Printer]] = {
    "table": TablePrinter,
    "json": JsonPrinter,
    "ndjson": NdjsonPrinter,
    "csv": CsvPrinter,
}
_ROW, _END, _ERROR, _META = b'{"row":', b'{"end":', b'{"error":', b'{"meta":'
# nothing is compressed: most services are on this machine
_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}


class _Document(Struct, frozen=True):
    columns: Raw
    rows: list[Raw]


class _Meta(Struct, frozen=True):
    columns: Raw


_decode_outcome = Decoder(Outcome).decode


def run_order(order: Order) -> int:
    """Send a request, print its answer, and return the exit code.

    Raises:
        Failure: there is no whole answer.
    """
    return asyncio.run(_run(order))


async def _run(order: Order) -> int:
    """Run until the end of the answer, a signal, or the end of who reads the output."""
    received: list[int] = []
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()

    def stop(number: int) -> None:
        received.append(number)
        if task is not None:
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a script's `&` has it
            loop.add_signal_handler(number, stop, number)
    try:
        await _perform(order, Output())
    except OutputClosed:
        return CLOSED_PIPE
    except asyncio.CancelledError:
        if not received:
            raise
        reason = f"{signal.Signals(received[0]).name}: the service cancels the statement"
        raise Failure(128 + received[0], reason, "executed: unknown") from None
    return DONE


async def _perform(order: Order, output: Output) -> None:
    """Send the request and print the answer.

    Raises:
        Failure, OutputClosed.
    """
    try:
        async with output.progress(), _open(order) as response:
            await _print_answer(order, response, output)
    except aiohttp.InvalidURL:
        raise refuse("--url: it is no address; write http://HOST:PORT or unix:/PATH") from None
    except aiohttp.ClientConnectorError as error:
        reason = error.os_error.strerror or "it can't be reached"
        raise lose(f"no service at {redact(order.url)}: {reason}", "no") from None
    except aiohttp.ConnectionTimeoutError:
        raise lose(
            f"no service at {redact(order.url)}: no connection within {CONNECT_S} s", "no"
        ) from None
    except TimeoutError:
        raise lose("no answer in time") from None
    except aiohttp.ClientPayloadError:
        raise lose("the answer was cut; it is not complete") from None
    except aiohttp.ClientError:
        raise lose("the connection was lost before the answer came") from None
    except OSError as error:
        raise Failure(UNCERTAIN, f"the output can't be written: {error.strerror}") from None


@asynccontextmanager
async def _open(order: Order) -> AsyncIterator[aiohttp.ClientResponse]:
    """Send the request; gives the head of the answer."""
    path = order.url.removeprefix("unix:")
    is_socket = path.startswith("/")
    base = "http://localhost" if is_socket else order.url
    timeout = aiohttp.ClientTimeout(
        total=(order.timeout_s or LONGEST_S) + GRACE_S, sock_connect=CONNECT_S
    )
    connector = aiohttp.UnixConnector(path) if is_socket else aiohttp.TCPConnector()
    headers = _HEADERS | ({"Authorization": f"Bearer {order.token}"} if order.token else {})
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        session.post(base + order.path, data=order.body, headers=headers) as response,
    ):
        yield response


async def _print_answer(order: Order, response: aiohttp.ClientResponse, output: Output) -> None:
    if response.status != 200:  # noqa: PLR2004  # nothing else is a success here
        raise failure.read_problem(response.status, await response.read())
    if order.format == "csv" and order.is_streamed:
        async for chunk in response.content.iter_any():
            await output.write(chunk)
        return
    printer = PRINTERS[order.format]()
    try:
        if order.is_streamed:
            outcome = await _print_stream(response, printer, output)
        else:
            outcome = await _print_document(await response.read(), printer, output)
    except DecodeError:
        raise lose("the answer is none of pgsidecar's") from None
    for raw in outcome.notices:
        notice = decode(raw, type=Notice)
        say(f"{notice.severity}: {escape_controls(notice.message)}\n")


async def _print_document(body: bytes, printer: Printer, output: Output) -> Outcome:
    """Print the answer of a saved query, which comes in one piece."""
    document, outcome = decode(body, type=_Document), _decode_outcome(body)
    await output.write(printer.head(document.columns))
    if document.rows:
        await output.write(printer.rows(document.rows), len(document.rows))
    await output.write(printer.end(outcome))
    return outcome


async def _print_stream(
    response: aiohttp.ClientResponse, printer: Printer, output: Output
) -> Outcome:
    """Print a stream of NDJSON.

    Raises:
        Failure: it failed, or its last line is missing.
    """
    async with aclosing(_read_lines(response)) as runs:
        async for lines in runs:
            await _print_lines(lines, printer, output)
            if lines[-1].startswith(_END):
                outcome = decode(lines[-1], type=dict[str, Outcome])["end"]
                await output.write(printer.end(outcome))
                return outcome
    raise lose("the answer was cut; it is not complete")


async def _print_lines(lines: Sequence[bytes], printer: Printer, output: Output) -> None:
    if lines[0].startswith(_META):
        meta = decode(lines[0], type=dict[str, _Meta])["meta"]
        await output.write(printer.head(meta.columns))
    rows = [line[len(_ROW) : -1] for line in lines if line.startswith(_ROW)]
    if rows:
        await output.write(printer.rows(rows), len(rows))
    if lines[-1].startswith(_ERROR):
        raise failure.describe_problem(decode(lines[-1], type=dict[str, failure.Problem])["error"])


async def _read_lines(response: aiohttp.ClientResponse) -> AsyncGenerator[list[bytes], None]:
    """Read complete lines, as many as there are; a line may be as long as a row is."""
    begun: list[bytes] = []
    async for chunk in response.content.iter_any():
        first, *others = chunk.split(b"\n")
        begun.append(first)
        if others:
            lines = [b"".join(begun), *others]
            begun = [lines.pop()]
            yield lines
