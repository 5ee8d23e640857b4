"""The section `sql`: saved queries, and whether there is any other SQL."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from proxy.settings_section import Section


class SqlSettings(Section):
    """Which statements a request may run."""

    named_dir: Path | None = Field(
        None,
        description="Directory of the saved queries, one in each `.sql` file.",
        examples=["/etc/pgsidecar/queries"],
    )
    mode: Literal["any", "named"] = Field(
        "any",
        description="Whether a request may have SQL of its own: any runs it; named runs saved "
        "queries alone.",
    )
    reload_s: float = Field(
        2.0,
        ge=0.05,
        le=3600,
        description="Time between two looks at the saved queries' files, whose changes hold "
        "without a restart.",
    )

    constraint_details: bool = Field(
        False,
        description="Tell clients the detail of a violated constraint (pg_detail), which quotes "
        "values of the row.",
    )
    show_running: bool = Field(
        False,
        description="Show the first 120 characters of each statement in GET /v1/queries, which may "
        "hold secrets; else only its first word.",
    )

    @model_validator(mode="after")
    def _check_mode(self) -> Self:
        if self.mode == "named" and self.named_dir is None:
            raise ValueError(
                "sql.mode = named leaves nothing to run without saved queries; "
                "set sql.named_dir to their directory"
            )
        return self
