"""The closed list of what can happen. Code says it happened, `stats` counts it."""

from collections.abc import Callable
from enum import StrEnum


class Event(StrEnum):
    """Each with the meaning of its value, 1 where nothing is said."""

    CONNECTION_OPENED = "connection_opened"
    CONNECTION_CLOSED = "connection_closed"
    CONNECTION_INVALIDATED = "connection_invalidated"
    CONNECTION_CHECKED_OUT = "connection_checked_out"
    CONNECTION_RETIRED = "connection_retired"  # over its maximum age
    CONNECTION_DISCARDED = "connection_discarded"  # lost, or not clean after a cancel
    CONNECT_FAILED = "connect_failed"
    LANE_LENT = "lane_lent"  # seconds waited for it
    LANE_TIMED_OUT = "lane_timed_out"
    QUEUE_REFUSED = "queue_refused"
    STATEMENT_CANCELLED = "statement_cancelled"
    REQUEST_FINISHED = "request_finished"  # seconds in total
    REQUEST_REJECTED = "request_rejected"  # 4xx
    REQUEST_FAILED = "request_failed"  # 5xx
    STREAM_STARTED = "stream_started"  # its first byte
    STREAM_FAILED = "stream_failed"  # after its first byte
    STREAM_STALLED = "stream_stalled"  # cut, since its reader took nothing
    STREAM_PAUSED = "stream_paused"  # the server had to wait for its reader
    TRANSACTION_BEGUN = "transaction_begun"  # that stays open across requests
    TRANSACTION_COMMITTED = "transaction_committed"  # seconds that it was open
    TRANSACTION_ROLLED_BACK = "transaction_rolled_back"  # seconds, lost ones too
    TRANSACTION_EXPIRED = "transaction_expired"  # seconds
    BATCH_RETRIED = "batch_retried"  # run again after a conflict with others
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  # the upstream took another one
    PASSWORD_REFUSED = "password_refused"  # noqa: S105  # a login failed for it
    PASSWORD_UNREADABLE = "password_unreadable"  # noqa: S105  # there is none in file or output
    TOKEN_REFUSED = "token_refused"  # noqa: S105  # a request had none that is known
    TOKENS_RELOADED = "tokens_reloaded"  # files of them had changed
    LISTENER_OPENED = "listener_opened"
    LISTENER_CUT = "listener_cut"  # since its reader was too slow
    NOTIFICATION_SENT = "notification_sent"
    NAMED_RELOADED = "named_reloaded"  # files of saved queries had changed
    NAMED_REFUSED = "named_refused"  # a file of them that can't be used
    NOT_MODIFIED = "not_modified"  # 304: the client has the answer
    CLIENT_DISCONNECTED = "client_disconnected"
    ROWS_SENT = "rows_sent"  # rows
    ROWS_LOADED = "rows_loaded"  # rows of a COPY
    BYTES_SENT = "bytes_sent"  # bytes of bodies


Emit = Callable[[Event, float], None]
