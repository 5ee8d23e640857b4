"""Names of Postgres settings: well-formed, ours, open to a request."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

OUR_SETTINGS = frozenset(
    {
        "client_encoding",
        "datestyle",
        "intervalstyle",
        "bytea_output",
        "extra_float_digits",
        "standard_conforming_strings",
    }
)
"""Settings in lower case that change the bytes which the encoders and the lexer read."""

CLAIMS = "request.jwt.claims"
_NEVER_OPEN = OUR_SETTINGS | {"role", "session_authorization", CLAIMS}
_NAME = re.compile(r"[a-z_][\w$]*(\.[a-z_][\w$]*)*", re.ASCII | re.IGNORECASE)


def is_name(name: str) -> bool:
    """Whether `name` has the form of a setting: `work_mem`, `app.tenant`, `request.jwt.claims`.

    Source: PostgreSQL documentation, "Customized Options".
    """
    return _NAME.fullmatch(name) is not None


def is_closed(name: str) -> bool:
    """Whether no request may set `name`, whatever the patterns say: identity, transaction, ours.

    A flight's transaction has begun by the time that its settings arrive, so default_transaction_…
    would come too late.
    """
    lower = name.lower()
    return lower in _NEVER_OPEN or lower.startswith(("transaction_", "default_transaction_"))


def is_allowed(name: str, patterns: Iterable[str]) -> bool:
    """Whether a request may set `name`: a pattern such as `app.*` matches, in any letter case."""
    if not is_name(name) or is_closed(name):
        return False
    lower = name.lower()
    return any(fnmatchcase(lower, pattern.lower()) for pattern in patterns)
