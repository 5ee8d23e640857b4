"""The section `embedded`: the Postgres that `serve` brings along."""

from pathlib import Path

from pydantic import Field

from proxy.settings_form import Port
from proxy.settings_section import Section


class EmbeddedSettings(Section):
    """The Postgres that `serve` starts when upstream.dsn is unset."""

    data_dir: Path | None = Field(
        None,
        description="Data directory of the embedded Postgres; unset, one in the user's cache.",
        examples=["/var/lib/pgsidecar"],
    )
    port: Port = Field(0, description="Port of the embedded Postgres; 0 takes a free one.")
