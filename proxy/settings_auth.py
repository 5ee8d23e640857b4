"""The section `auth`: who may ask."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from proxy.settings_section import Section

SCOPES = ("query", "write", "stream", "copy", "listen", "stats")
_NAMED = re.compile(r"named:(\*|[\w.-]+)", re.ASCII)


def _check_scope(scope: str) -> str:
    if scope not in SCOPES and _NAMED.fullmatch(scope) is None:
        raise ValueError(
            f"has {scope}, which is no scope; there are {', '.join(SCOPES)}, named:<name>, named:*"
        )
    return scope


Scope = Annotated[str, AfterValidator(_check_scope)]


class ClientSettings(Section):
    """What one client may do; what isn't said here is as for everybody."""

    scopes: tuple[Scope, ...] | None = None
    rows: int | None = Field(None, ge=1)
    bytes: int | None = Field(None, ge=1024)
    timeout_s: float | None = Field(None, gt=0)
    concurrency: int | None = Field(None, ge=1)
    per_s: float | None = Field(None, gt=0)


class AuthSettings(Section):
    """Who may ask."""

    tokens_dir: Path | None = Field(
        None,
        description="Directory of the clients' bearer tokens: each file is named like its client "
        "and holds a token in each line; unset, whoever reaches the listener may ask.",
        examples=["/etc/pgsidecar/tokens"],
    )
    reload_s: float = Field(
        2.0,
        ge=0.05,
        le=3600,
        description="Time between two looks at the tokens, whose changes hold without a restart.",
    )
    scopes: tuple[Scope, ...] = Field(
        ("query", "write", "stream", "copy", "listen", "named:*"),
        description="What everybody may do whom auth.clients says nothing else about; without "
        "write the server refuses every write.",
        examples=[["query", "stream", "named:*"]],
    )
    clients: Mapping[str, ClientSettings] = Field(
        {},
        description="By client, what it may do and how much: scopes; rows, bytes and timeout_s, "
        "which only lower the limits; concurrency, its requests at once; per_s, those in a second.",
        examples=[{"reports": {"scopes": ["query", "stream"], "concurrency": 4, "per_s": 20.0}}],
    )
    open_network: bool = Field(
        False,
        description="Serve without authentication on an address other than loopback or a unix "
        "socket.",
    )
