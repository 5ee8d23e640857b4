"""Every expected failure, with its HTTP status. Imports nothing.

ProxyError
├── InvalidRequest        400  the request itself is wrong; names the mistake and the remedy
├── Unauthorized          401  no token, or one that nobody has
├── Forbidden             403  policy keeps this out
├── StatementNotAllowed   403  the statement can't be run on this endpoint
├── NotFound              404
├── MethodNotAllowed      405
├── NotAcceptable         406  we have none of the formats that the client takes
├── RequestTimeout        408  the client didn't send, or didn't take, in time
├── NeedsSession          409  the statement needs a session of its own
├── NeedsTransactions     409  the upstream's pool mode has no transactions
├── NeedsBareFlight       409  the statement takes no options
├── TransactionBusy       409  another request has the transaction
├── TransactionFailed     409  COMMIT was answered by ROLLBACK
├── TransactionEnded      410  the transaction is over: committed, rolled back, lost
│   └── TransactionExpired  410  a deadline of the transaction has ended it
├── RequestTooLarge       413  body, statement or parameter over a limit
├── ResultTooLarge        413  more rows or bytes than asked for
├── UnsupportedMediaType  415  content type or encoding that we don't read
├── QueueFull             429  too many requests wait for a connection already
├── TooManyRequests       429  a client has used its quota
├── TooManyTransactions   429  open transactions hold their share of the pool already
├── TooManyListeners      429  as many clients listen as may
├── QueryCanceled         499  somebody asked for the end of the request
├── EncodingFailed        500  the server sent text that isn't UTF-8
├── UpstreamAuth          502  the upstream refuses our login
├── HttpVersionTooOld     505  the answer can't be told apart from a cut one in HTTP/1.0
├── PoolTimeout           503  no connection became free in time
├── Draining              503  the service is shutting down
├── UpstreamUnavailable   503  cannot connect, or the connection was lost
├── DeadlineExceeded      504  the request's own time is over
└── SqlError              by SQLSTATE  the server rejected the statement
"""

from typing import Literal

Executed = Literal["no", "yes", "unknown"]
Phase = Literal["request", "queue", "connect", "execute", "stream", "commit"]
RETRY_AFTER_MS = 1000


class ProxyError(Exception):
    """Base of all expected failures; anything else becomes a 500 without details.

    `context` holds the members of the problem document (docs/reference/errors.md) that only this
    occurrence knows: position, constraint, statement_index, …
    """

    status: int = 500
    code: str = "internal"
    phase: Phase = "request"
    executed: Executed = "no"
    is_transient: bool = False  # the same request may succeed later

    def __init__(
        self,
        detail: str,
        *,
        phase: Phase | None = None,
        executed: Executed | None = None,
        **context: str | int | None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.phase = phase or type(self).phase
        self.executed = executed or type(self).executed
        self.context = {key: value for key, value in context.items() if value is not None}

    @property
    def retryable(self) -> bool:
        """Whether it is safe, and may help, to send the same request again."""
        return self.is_transient and self.executed == "no"

    @property
    def retry_after_ms(self) -> int | None:
        """How long to wait before, where the service or the upstream is overloaded or away."""
        return RETRY_AFTER_MS if self.retryable and self.status in {429, 503} else None


class InvalidRequest(ProxyError):
    """The request itself is wrong; nothing was sent to the upstream."""

    status, code = 400, "invalid_request"


class RequestTooLarge(ProxyError):
    """A body, a statement or a parameter exceeds its limit."""

    status, code = 413, "request_too_large"


class NotAcceptable(ProxyError):
    """We have none of the formats that the client takes."""

    status, code = 406, "not_acceptable"


class HttpVersionTooOld(ProxyError):
    """The format needs chunked bodies, so that a cut answer never looks complete."""

    status, code = 505, "http_version_too_old"


class RequestTimeout(ProxyError):
    """The client took too long to send its body, or to take the answer."""

    status, code, is_transient = 408, "request_timeout", True


class UnsupportedMediaType(ProxyError):
    """The body's content type or encoding is one that we don't read."""

    status, code = 415, "unsupported_media_type"


class NotFound(ProxyError):
    """No such resource."""

    status, code = 404, "not_found"


class MethodNotAllowed(ProxyError):
    """The resource exists, but not for this method; the context's `allow` has the right ones."""

    status, code = 405, "method_not_allowed"


class Unauthorized(ProxyError):
    """The request has no token, or one that nobody has."""

    status, code = 401, "unauthorized"


class Forbidden(ProxyError):
    """Policy keeps this out."""

    status, code = 403, "forbidden"


class StatementNotAllowed(ProxyError):
    """The statement can't be run on this endpoint; `detail` names the one that can."""

    status, code = 403, "statement_not_allowed"


class NeedsSession(ProxyError):
    """The statement needs a session of its own; `detail` names what does the same without one."""

    status, code = 409, "needs_session"


class NeedsTransactions(ProxyError):
    """The upstream's pool mode has no transactions of several statements."""

    status, code = 409, "needs_transactions"


class NeedsBareFlight(ProxyError):
    """The statement can't run in a transaction block, so it takes no options."""

    status, code = 409, "needs_bare_flight"


class TransactionBusy(ProxyError):
    """Another request has the transaction; nothing was sent."""

    status, code, is_transient = 409, "transaction_busy", True


class TransactionFailed(ProxyError):
    """COMMIT was answered by ROLLBACK, since a statement had failed before."""

    status, code, phase = 409, "transaction_failed", "commit"


class TransactionEnded(ProxyError):
    """The transaction is over; `detail` says how, and `executed` whether it took effect."""

    status, code = 410, "transaction_ended"


class TransactionExpired(TransactionEnded):
    """A deadline of the transaction has ended it."""

    code = "transaction_expired"


class ResultTooLarge(ProxyError):
    """More rows or bytes than the limit; `executed` says whether the statement took effect."""

    status, code, phase = 413, "result_too_large", "execute"


class QueueFull(ProxyError):
    """So many requests wait for a connection that one more is refused at once."""

    status, code, phase, is_transient = 429, "queue_full", "queue", True


class TooManyRequests(ProxyError):
    """The client has used up what it may have in hand, or send in a second."""

    status, code, is_transient = 429, "too_many_requests", True


class TooManyTransactions(ProxyError):
    """Open transactions hold their share of the pool, so one more is refused at once."""

    status, code, phase, is_transient = 429, "too_many_transactions", "queue", True


class TooManyListeners(ProxyError):
    """As many clients listen as may, so one more is refused at once."""

    status, code, phase, is_transient = 429, "too_many_listeners", "queue", True


class PoolTimeout(ProxyError):
    """No connection became free in time; nothing was sent."""

    status, code, phase, is_transient = 503, "pool_timeout", "queue", True


class Draining(ProxyError):
    """The service is shutting down and takes no new work."""

    status, code, phase, is_transient = 503, "draining", "queue", True


class DeadlineExceeded(ProxyError):
    """The request's own time is over."""

    status, code, phase = 504, "deadline_exceeded", "execute"


class QueryCanceled(ProxyError):
    """The request was cancelled by its id."""

    status, code, phase = 499, "query_canceled", "execute"


class UpstreamUnavailable(ProxyError):
    """No connection to the upstream, or it was lost; `phase` and `executed` say when."""

    status, code, is_transient = 503, "upstream_unavailable", True
    phase: Phase = "connect"


class UpstreamAuth(ProxyError):
    """The upstream refuses our login: a configuration error, so no retry helps."""

    status, code, phase = 502, "upstream_auth", "connect"


class EncodingFailed(ProxyError):
    """The server sent text that isn't UTF-8; the statement had been executed by then."""

    status, code, phase = 500, "encoding_failed", "execute"
    executed: Executed = "yes"


class SqlError(ProxyError):
    """The server rejected the statement; its SQLSTATE decides status and code.

    `engine/sqlstate.py` makes these; `context` has the server's fields.
    """

    phase: Phase = "execute"
