"""Who asks, as far as a token says."""

from typing import NamedTuple


class Identity(NamedTuple):
    """A client, and what its token narrows it to; None leaves it as the configuration says."""

    client: str | None = None  # None: anybody
    scopes: frozenset[str] | None = None
    role: str | None = None
    chooses_role: bool = True  # where the token has none
    claims: str | None = None  # all of them, as JSON
