"""What the server answers to one flight."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from proxy.wire.copy_feed import CopyFeed
from proxy.wire.messages import (
    DATA_ROW,
    HEADER_BYTES,
    INT4,
    ServerMessage,
    parse_parameter_description,
    parse_server_message,
)

MAX_NOTICES = 20  # one DO block can raise thousands


class RowSink(Protocol):
    """What takes the rows of a flight."""

    def describe(self, description: bytes | None) -> None:
        """Take the body of a RowDescription, or None for a statement without rows."""

    def feed_rows(self, data: bytes, start: int) -> int:
        """Take the run of complete DataRow messages at `start`; returns where it ends."""

    def skip_row(self) -> None:
        """Be told that a row over the message limit was dropped."""


class Discard:
    """The sink of a flight whose rows nobody wants."""

    def describe(self, description: bytes | None) -> None:
        """Ignore it."""

    def feed_rows(self, data: bytes, start: int) -> int:
        """Pass over the rows."""
        position, size = start, len(data)
        while size - position >= HEADER_BYTES and data[position] == DATA_ROW:
            end = position + 1 + INT4.unpack_from(data, position + 1)[0]
            if end > size or end < position + HEADER_BYTES:
                break
            position = end
        return position

    def skip_row(self) -> None:
        """Ignore it."""


@dataclass(slots=True)
class Answer:
    """The answer so far; complete, and a success if there is no `error`, at ReadyForQuery.

    Rows go to the sink as they come. Never take the command tag for success: a deferred constraint
    or a serialization failure arrives after it.
    """

    sink: RowSink
    prefixes: int = 0  # row-less statements still to come before the one with a Describe
    feed: CopyFeed | None = None  # of a COPY … FROM STDIN that has data
    more: int = 0  # statements of a batch still to come before the last one
    tags: list[bytes] = field(default_factory=list)  # of those that have come
    status: Literal["I", "T", "E"] = "I"  # idle, in a transaction, in a failed transaction
    error: ServerMessage | None = None
    is_prefix_error: bool = False  # raised by the settings, before the statement was looked at
    is_commit_error: bool = False  # raised after the statement's tag
    tag: bytes | None = None
    end_tag: bytes | None = None  # of the COMMIT or ROLLBACK behind the statement
    parameter_oids: tuple[int, ...] = ()  # of a statement that was to be described
    is_empty: bool = False
    is_suspended: bool = False  # the row limit of Execute was reached
    copy: Literal["in", "out"] | None = None  # data that a COPY waits for, or sends
    notices: list[ServerMessage] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        """Whether the statement itself has ended, and only its commit is awaited."""
        return self.tag is not None or self.is_suspended

    def on_nothing(self, message: bytes) -> None:
        """Pass over what carries no news: ParseComplete, BindComplete, data of a COPY."""

    def on_parameters(self, message: bytes) -> None:
        """ParameterDescription."""
        self.parameter_oids = parse_parameter_description(message[HEADER_BYTES:])

    def on_description(self, message: bytes) -> None:
        """RowDescription."""
        self.sink.describe(message[HEADER_BYTES:])

    def on_no_data(self, _message: bytes) -> None:
        """NoData: the statement returns no rows."""
        self.sink.describe(None)

    def on_complete(self, message: bytes) -> None:
        """CommandComplete of a prefix, of the statement, or of what ends its transaction."""
        if self.prefixes:
            self.prefixes -= 1
        elif self.more:
            self.more -= 1
            self.tags.append(message[HEADER_BYTES:])
        elif not self.is_over:
            self.tag = message[HEADER_BYTES:]
        else:
            self.end_tag = message[HEADER_BYTES:]

    def on_empty(self, _message: bytes) -> None:
        """EmptyQueryResponse."""
        self.is_empty = True

    def on_suspended(self, _message: bytes) -> None:
        """PortalSuspended."""
        self.is_suspended = True

    def on_error(self, message: bytes) -> None:
        """ErrorResponse; the first one counts, or the one that ends the connection."""
        error = parse_server_message(message[HEADER_BYTES:])
        if self.error is None or error.is_fatal:
            self.error = error
            self.is_prefix_error = self.prefixes > 0
            self.is_commit_error = self.is_over
        if self.feed is not None:
            self.feed.refuse()

    def on_notice(self, message: bytes) -> None:
        """NoticeResponse; the first few of the statement are kept, those of prefixes are ours."""
        if not self.prefixes and len(self.notices) < MAX_NOTICES:
            self.notices.append(parse_server_message(message[HEADER_BYTES:]))

    def on_copy_out(self, _message: bytes) -> None:
        """CopyOutResponse: the data that follows is dropped."""
        self.copy = "out"


HANDLERS: dict[int, Callable[[Answer, bytes], None]] = {
    ord("1"): Answer.on_nothing,
    ord("2"): Answer.on_nothing,
    ord("3"): Answer.on_nothing,
    ord("t"): Answer.on_parameters,
    ord("T"): Answer.on_description,
    ord("n"): Answer.on_no_data,
    ord("C"): Answer.on_complete,
    ord("I"): Answer.on_empty,
    ord("s"): Answer.on_suspended,
    ord("E"): Answer.on_error,
    ord("N"): Answer.on_notice,
    ord("H"): Answer.on_copy_out,
    ord("d"): Answer.on_nothing,
    ord("c"): Answer.on_nothing,
}
