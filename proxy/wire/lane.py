"""One upstream connection as a lane: one flight out, its answer in.

The lane takes over the transport of an idle asyncpg connection and hands it back. This hand-over is
the only private part of asyncpg that we touch (`Connection._transport`, `._protocol`), and this is
the only module that touches it: docs/adr/0002-one-statement-one-flight.md.
"""

import asyncio
from typing import Any, Literal, cast

import asyncpg

from proxy.wire.answer import HANDLERS, Answer, Discard, RowSink
from proxy.wire.framing import Framing, ProtocolViolation
from proxy.wire.messages import (
    HEADER_BYTES,
    INT4,
    SYNC,
    Flight,
    ServerMessage,
    build_copy_fail,
    build_query,
)

_COPY_REFUSED = build_copy_fail(b"this request brings no data") + SYNC


class ConnectionLost(Exception):
    """The connection ended; `message` is the server's last word, if it had one."""

    def __init__(self, message: ServerMessage | None) -> None:
        super().__init__(message.message if message else "the connection was closed")
        self.message = message


class HandOverRefused(Exception):
    """The driver isn't idle, or isn't built as we know it."""


class Lane(asyncio.Protocol):
    """Sends flights and reads their answers, one at a time."""

    def __init__(self, driver: "asyncpg.Connection[Any]", max_message_bytes: int) -> None:
        """Take the transport of an idle asyncpg connection.

        Raises:
            HandOverRefused: the connection is closed, busy, or of an unknown build.
        """
        private = cast("Any", driver)  # the hand-over is private by nature
        try:
            self._transport, self._driver = private._transport, private._protocol  # noqa: SLF001  # hand-over
            is_idle = _is_idle(private)
        except AttributeError as cause:
            raise HandOverRefused(f"asyncpg {asyncpg.__version__} is built differently") from cause
        if not is_idle:
            raise HandOverRefused("the connection is closed or busy")
        self._loop = asyncio.get_running_loop()  # asking for it is a system call in Python 3.11
        self._framing = Framing(self._handle, max_message_bytes)
        self._for_driver: dict[bytes, bytes] = {}
        self._answer = Answer(Discard())
        self._future: asyncio.Future[Answer] | None = None
        self.status: Literal["I", "T", "E"] = "I"
        self.is_lost = False
        self._is_paused = False
        self._transport.set_protocol(self)

    @property
    def is_busy(self) -> bool:
        """Whether a flight is under way."""
        return self._future is not None

    def send(self, flight: Flight, sink: RowSink) -> asyncio.Future[Answer]:
        """Write `flight` in one piece; the future has its answer at ReadyForQuery.

        Raises (from the future):
            ConnectionLost
        """
        if self._future is not None:
            raise RuntimeError("a lane carries one flight at a time")
        future: asyncio.Future[Answer] = self._loop.create_future()
        if self.is_lost:
            future.set_exception(ConnectionLost(self._answer.error))
            return future
        self._future = future
        self._answer = Answer(sink, flight.prefixes, flight.feed, flight.more)
        if flight.feed is not None:
            flight.feed.attach(self._transport)
        self._transport.write(flight.data)
        return future

    def send_query(self, sql: str, sink: RowSink) -> asyncio.Future[Answer]:
        """Run `sql` by the simple protocol: for rollbacks, and for PgBouncer's console."""
        return self.send(Flight(build_query(sql.encode())), sink)

    def abandon(self) -> asyncio.Future[Answer]:
        """Drop what is left of the flight under way; the future is done when the lane is free."""
        self._answer.sink = Discard()
        if self._answer.feed is not None:
            self._answer.feed.fail()
        self.resume()
        self._future = self._loop.create_future()
        return self._future

    def pause(self) -> None:
        """Stop reading from the server until `resume`, or until the answer has come to its end."""
        if not self.is_lost:
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Go on reading; harmless when nothing was paused."""
        if not self.is_lost:
            self._is_paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection at once."""
        self._transport.abort()

    def hand_back(self) -> None:
        """Give the transport back to asyncpg, and what the server said unasked."""
        if self.is_lost:
            return
        self.resume()  # asyncpg hangs on a paused one
        self._transport.set_protocol(self._driver)
        if self._for_driver:
            self._driver.data_received(b"".join(self._for_driver.values()))

    def backend_key(self) -> tuple[int, int]:
        """Process id and secret for a CancelRequest."""
        return self._driver.backend_pid, self._driver.backend_secret

    def extra_info(self, name: str) -> Any:
        """Ask the transport for `peername`, `ssl_object`, …; Any as asyncio has it."""
        return self._transport.get_extra_info(name)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the waiting request, and the driver, so that the pool sees a closed connection."""
        self.is_lost = True
        self._driver.connection_lost(exc)
        future, self._future = self._future, None
        if self._answer.feed is not None:
            self._answer.feed.close()
        if future is not None and not future.done():
            future.set_exception(ConnectionLost(self._answer.error))

    def pause_writing(self) -> None:
        """Have a COPY wait: the socket to the server is full."""
        if self._answer.feed is not None:
            self._answer.feed.pause()

    def resume_writing(self) -> None:
        """Have a COPY go on."""
        if self._answer.feed is not None:
            self._answer.feed.resume()

    def eof_received(self) -> bool:
        """Let the transport close itself."""
        return False

    def data_received(self, data: bytes) -> None:
        """Take the next piece of the server's stream."""
        try:
            self._framing.feed(data, self._answer.sink)
        except ProtocolViolation:
            self.abort()

    def _handle(self, kind: int, message: bytes) -> None:
        handler = HANDLERS.get(kind)
        if handler is not None:
            handler(self._answer, message)
            # an error to an idle lane is the server's farewell; the end of the stream comes later
            self.is_lost = self.is_lost or (self._future is None and self._answer.error is not None)
            return
        self._handle_own(chr(kind), message)

    def _handle_own(self, kind: str, message: bytes) -> None:
        """Handle the messages that concern the connection, not the statement."""
        if kind == "Z":
            self._finish(message)
        elif kind == "S":  # ParameterStatus: the newest of each name
            self._keep_for_driver(message, HEADER_BYTES)
        elif kind == "A":  # NotificationResponse: the newest of each channel, after the sender's id
            self._keep_for_driver(message, HEADER_BYTES + INT4.size)
        elif kind == "G":
            self._answer.copy = "in"
            if self._answer.feed is not None:
                self._answer.feed.accept()
            else:
                self._transport.write(_COPY_REFUSED)  # the server has swallowed our Sync
        else:
            raise ProtocolViolation(f"a message of type {kind!r}")

    def _keep_for_driver(self, message: bytes, name_start: int) -> None:
        name = message[name_start:].partition(b"\0")[0]
        self._for_driver[message[:1] + name] = message

    def _finish(self, message: bytes) -> None:
        status = chr(message[HEADER_BYTES])
        self.status = self._answer.status = cast("Literal['I', 'T', 'E']", status)
        if self._is_paused:  # by rows that came in one piece with the end
            self.resume()
        future, self._future = self._future, None
        answer, self._answer = self._answer, Answer(Discard())
        if answer.feed is not None:
            answer.feed.close()
        if future is not None and not future.done():
            future.set_result(answer)


def _is_idle(connection: Any) -> bool:  # private by nature
    """Whether asyncpg has the transport and waits for nothing; a simple query can't be seen."""
    driver = connection._protocol  # noqa: SLF001  # hand-over
    return (
        driver.is_connected()
        and not driver.is_in_transaction()
        and not driver._is_cancelling()  # noqa: SLF001  # hand-over
        and connection._top_xact is None  # noqa: SLF001  # hand-over
        and not connection._stmt_exclusive_section._acquired  # noqa: SLF001  # hand-over
        and connection._transport.get_protocol() is driver  # noqa: SLF001  # hand-over
    )
