"""How `pgsidecar query` fails: its exit codes, and what it says.

The codes are described in docs/reference/query-command.md.
"""

from typing import Literal

from msgspec import DecodeError, Struct
from msgspec.json import Decoder

from proxy.command.text import escape_controls
from proxy.errors import Executed

DONE, FAILED, WRONG, REFUSED, AGAIN, UNCERTAIN = range(6)
CLOSED_PIPE = 141  # as the shell says of who died by SIGPIPE
_STATUS_AGAIN = frozenset({408, 429, 503, 504})
_SHOWN = ("pg_detail", "hint", "sqlstate", "position", "executed", "retryable", "request_id")


class Failure(Exception):
    """The end of the command, with its exit code and its lines for stderr."""

    def __init__(self, code: int, *lines: str) -> None:
        super().__init__(*lines)
        self.code = code
        self.lines = lines


class Problem(Struct, frozen=True):
    """What we read of a problem document: docs/reference/errors.md."""

    title: str
    status: int
    detail: str
    executed: Executed
    retryable: bool
    sqlstate: str | None = None
    pg_detail: str | None = None
    hint: str | None = None
    position: int | None = None
    request_id: str | None = None


_decode = Decoder(Problem).decode


def refuse(reason: str) -> Failure:
    """Make the failure of a command line that is wrong."""
    return Failure(WRONG, reason)


def lose(reason: str, executed: Literal["no", "unknown"] = "unknown") -> Failure:
    """Make the failure of an answer that never came, or not to its end."""
    return Failure(AGAIN if executed == "no" else UNCERTAIN, reason, f"executed: {executed}")


def read_problem(status: int, body: bytes) -> Failure:
    """Make the failure that an answer tells."""
    try:
        return describe_problem(_decode(body))
    except DecodeError:
        reason = f"HTTP {status} without a problem document: does pgsidecar answer there?"
        return lose(reason) if status >= 500 else Failure(_choose_by_status(status), reason)  # noqa: PLR2004  # where a server is to blame


def describe_problem(problem: Problem) -> Failure:
    """Make the failure that a problem document tells, member by member."""
    members = {name.removeprefix("pg_"): getattr(problem, name) for name in _SHOWN}
    members["retryable"] = "yes" if problem.retryable else "no"
    lines = [f"{problem.title}: {escape_controls(problem.detail)}"]
    lines += [f"{key}: {escape_controls(str(value))}" for key, value in members.items() if value]
    return Failure(choose_code(problem), *lines)


def choose_code(problem: Problem) -> int:
    """Choose the exit code; what became of the statement counts more than why."""
    if problem.executed != "no":
        return UNCERTAIN
    if problem.retryable or problem.status in _STATUS_AGAIN:
        return AGAIN
    if problem.status == 502:  # noqa: PLR2004  # the upstream refuses the service's login
        return REFUSED
    return FAILED if problem.sqlstate else _choose_by_status(problem.status)


def _choose_by_status(status: int) -> int:
    if status in {401, 403}:
        return REFUSED
    return FAILED if status in {499, 500} else WRONG
