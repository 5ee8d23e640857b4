"""What a server's error means for the client: one table from SQLSTATE to status and retry.

The table is that of docs/reference/errors.md. Classes come after their members, first match wins.
"""

from typing import NamedTuple

from proxy.engine.condition import CONDITIONS
from proxy.errors import Executed, ProxyError, SqlError, UpstreamAuth, UpstreamUnavailable
from proxy.wire.lane import ConnectionLost
from proxy.wire.messages import ServerMessage


class Verdict(NamedTuple):
    """HTTP status, and whether the same request may succeed when sent again."""

    status: int
    is_transient: bool = False


TIMEOUT = 504
_STATEMENT: dict[str, Verdict] = {
    "08P01": Verdict(400),  # parameter count
    "22": Verdict(400),
    "23505": Verdict(409),
    "23P01": Verdict(409),
    "23503": Verdict(409),
    "23": Verdict(422),
    "25P02": Verdict(409),
    "25006": Verdict(403),
    "25": Verdict(400),
    "2": Verdict(400),
    "3": Verdict(400),
    "40001": Verdict(409, is_transient=True),
    "40P01": Verdict(409, is_transient=True),
    "42501": Verdict(403),
    "42": Verdict(400),
    "44": Verdict(422),
    "53100": Verdict(507),
    "53200": Verdict(503, is_transient=True),
    "54": Verdict(400),
    "55P03": Verdict(409, is_transient=True),
    "55": Verdict(409),
    "57014": Verdict(TIMEOUT),  # a statement_timeout that isn't ours
    "P0": Verdict(400),
    "0": Verdict(400),
    "XX": Verdict(500),
    # raised by a user's `raise … using errcode`: of the statement, not of the connection
    "08": Verdict(400),
    "28": Verdict(400),
    "53": Verdict(400),
    "57": Verdict(400),
}
_OTHER = Verdict(500)
_CANCELLED = Verdict(499)

_UNTYPED = frozenset({"42725", "42P08", "42P18", "42804"})
_BLOCK_HINT = (
    "Settings, role, claims, isolation, read_only and dry_run make a transaction block, those of "
    "the configuration too; the statement has to go without them."
)
_HINTS = {"25001": _BLOCK_HINT, "2D000": _BLOCK_HINT}
_UNTYPED_HINT = "Say the parameter's type: in `types`, or as $1::type in the statement."

# PgBouncer's words in FATAL 08P01 (docs/explanation/pgbouncer.md): nothing reached Postgres
_NOT_EXECUTED = (
    "query_wait_timeout",
    "server login has been failing",
    "no more connections allowed",
    "is disabled",
    "server shutting down",
    "client_login_timeout",
    "transaction blocks not allowed",
    "prepared statement did not exist",
)
_AT_LOGIN = ("28", "3D000", "53300", "57P03")  # that of a server connection: PgBouncer passes it on
_REFUSALS = (
    "authentication failed",
    "no such database",
    "no such user",
    "unsupported startup parameter",
    "invalid server parameter",  # a time zone, most likely
)
_TRY_LATER = frozenset({"53300", "53400", "57P01", "57P02", "57P03"})


def find_verdict(sqlstate: str) -> Verdict:
    """Look up the longest known beginning of `sqlstate`."""
    for length in (5, 2, 1):
        verdict = _STATEMENT.get(sqlstate[:length])
        if verdict is not None:
            return verdict
    return _OTHER


def list_statuses() -> set[int]:
    """List every status that an error of a statement can have."""
    return {verdict.status for verdict in (*_STATEMENT.values(), _OTHER, _CANCELLED)}


def condition_name(sqlstate: str) -> str:
    """Return Postgres's name of the condition; `sqlstate_…` for one that it has no name for."""
    return CONDITIONS.get(sqlstate, f"sqlstate_{sqlstate.lower()}")


def statement_error(
    message: ServerMessage, *, executed: Executed, in_prefix: bool, has_untyped: bool
) -> SqlError:
    """Make the error of a statement that the server rejected.

    `has_untyped` says that the server had to infer the type of a parameter.
    """
    verdict = _CANCELLED if _is_foreign_cancel(message) else find_verdict(message.sqlstate)
    hint = message.hint or _HINTS.get(message.sqlstate)
    if has_untyped and message.sqlstate in _UNTYPED:
        hint = _UNTYPED_HINT
    error = SqlError(
        f"settings: {message.message}" if in_prefix else message.message,
        executed=executed,
        sqlstate=message.sqlstate,
        severity=message.severity,
        pg_detail=message.detail,
        hint=hint,
        position=None if in_prefix else message.position,
        schema=message.schema,
        table=message.table,
        column=message.column,
        constraint=message.constraint,
    )
    error.status, error.is_transient = verdict
    error.code = (
        "statement_timeout" if verdict.status == TIMEOUT else condition_name(message.sqlstate)
    )
    return error


def _is_foreign_cancel(message: ServerMessage) -> bool:
    """Whether somebody else cancelled the statement, by pg_cancel_backend for example."""
    return message.sqlstate == "57014" and "user request" in message.message


def lost_error(lost: ConnectionLost) -> UpstreamUnavailable:
    """Make the error of a connection that ended while a statement was under way."""
    message = lost.message
    if message is None or not message.is_fatal:
        return UpstreamUnavailable(
            "the connection to the upstream was lost while the statement ran",
            phase="execute",
            executed="unknown",
        )
    not_executed = message.sqlstate.startswith(_AT_LOGIN) or any(
        words in message.message for words in _NOT_EXECUTED
    )
    return UpstreamUnavailable(
        f"the upstream closed the connection: {message.message}",
        phase="execute",
        executed="no" if not_executed else "unknown",
        sqlstate=message.sqlstate,
    )


def connect_error(sqlstate: str | None, text: str) -> ProxyError:
    """Make the error of a connection that could not be opened; nothing was executed."""
    if _is_refusal(sqlstate, text):
        return UpstreamAuth(f"the upstream refuses our login: {text}", sqlstate=sqlstate)
    return UpstreamUnavailable(f"cannot connect to the upstream: {text}", sqlstate=sqlstate)


def is_password_refused(sqlstate: str | None, text: str) -> bool:
    """Whether a login failed for its password, as far as Postgres and PgBouncer tell.

    PgBouncer says so by 08P01, and Postgres by 28000 for PAM, as on AWS.
    """
    return sqlstate == "28P01" or (
        sqlstate in {"28000", "08P01"} and "authentication failed" in text
    )


def _is_refusal(sqlstate: str | None, text: str) -> bool:
    """Whether only another configuration can help."""
    if sqlstate is None or sqlstate in _TRY_LATER:
        return False
    if sqlstate.startswith("08"):  # PgBouncer says everything by 08P01
        return text == "not allowed" or any(words in text for words in _REFUSALS)
    return True
