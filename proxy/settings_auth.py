"""The section `auth`: who may ask."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from proxy.settings_section import Section

SCOPES = ("query", "write", "stream", "copy", "listen", "stats")
_NAMED = re.compile(r"named:(\*|[\w.-]+)", re.ASCII)


def _check_scope(scope: str) -> str:
    if scope not in SCOPES and _NAMED.fullmatch(scope) is None:
        raise ValueError(
            f"has {scope}, which is no scope; there are {', '.join(SCOPES)}, named:<name>, named:*"
        )
    return scope


JwtAlgorithm: TypeAlias = Literal[
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "HS256",
    "HS384",
    "HS512",
]
Scope = Annotated[str, AfterValidator(_check_scope)]


class ClientSettings(Section):
    """What one client may do; what isn't said here is as for everybody."""

    scopes: tuple[Scope, ...] | None = None
    rows: int | None = Field(None, ge=1)
    bytes: int | None = Field(None, ge=1024)
    timeout_s: float | None = Field(None, gt=0)
    concurrency: int | None = Field(None, ge=1)
    streams: int | None = Field(None, ge=0)
    transactions: int | None = Field(None, ge=0)
    per_s: float | None = Field(None, gt=0)


class AuthSettings(Section):
    """Who may ask."""

    @property
    def has_tokens(self) -> bool:
        """Whether clients are known."""
        return self.tokens_dir is not None or self.jwt_keys_file is not None

    @model_validator(mode="after")
    def _check_jwt(self) -> Self:
        if self.jwt_keys_file is not None and self.jwt_audience is None:
            raise ValueError(
                "auth.jwt_keys_file needs auth.jwt_audience: without it a token that was issued "
                "for another service would be taken, too"
            )
        return self

    tokens_dir: Path | None = Field(
        None,
        description="Directory of the clients' bearer tokens: each file is named like its client "
        "and holds a token in each line; unset, whoever reaches the listener may ask.",
        examples=["/etc/pgsidecar/tokens"],
    )
    jwt_keys_file: Path | None = Field(
        None,
        description="Key set (JWKS) of whoever issues JSON Web Tokens, which are taken as well; "
        "needs the extra jwt.",
        examples=["/etc/pgsidecar/keys.json"],
    )
    jwt_algorithms: tuple[JwtAlgorithm, ...] = Field(
        ("RS256", "ES256", "EdDSA"), description="Algorithms that the keys may be for."
    )
    jwt_issuer: str | None = Field(
        None, min_length=1, description="What a token must have as iss.", examples=["https://id"]
    )
    jwt_audience: str | None = Field(
        None, min_length=1, description="What a token must have in aud.", examples=["pgsidecar"]
    )
    jwt_scope_claim: str = Field(
        "scope", min_length=1, description="Claim that narrows a client's scopes, if it is there."
    )
    jwt_role_claim: str | None = Field(
        None,
        min_length=1,
        description="Claim with the role that the client's statements run as, one of "
        "session.allowed_roles.",
        examples=["role"],
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
        "which only lower the limits; concurrency, its requests at once; streams and transactions, "
        "those which are open at once; per_s, requests in a second.",
        examples=[{"reports": {"scopes": ["query", "stream"], "concurrency": 4, "per_s": 20.0}}],
    )
    open_network: bool = Field(
        False,
        description="Serve without authentication on an address other than loopback or a unix "
        "socket.",
    )
