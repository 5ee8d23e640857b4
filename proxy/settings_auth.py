"""The section `auth`: who may ask."""

from pathlib import Path

from pydantic import Field

from proxy.settings_section import Section


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
    open_network: bool = Field(
        False,
        description="Serve without authentication on an address other than loopback or a unix "
        "socket.",
    )
