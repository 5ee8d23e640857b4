"""The section `upstream`: the Postgres or PgBouncer that answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, FilePath, model_validator

from proxy.settings_form import Dsn, has_password
from proxy.settings_section import Section


class UpstreamSettings(Section):
    """The Postgres or PgBouncer that answers."""

    dsn: Dsn | None = Field(
        None,
        description="Address of the Postgres or PgBouncer, as a libpq URL: several hosts, sslmode "
        "and target_session_attrs work; unset, `serve` starts an embedded Postgres.",
        examples=["postgresql://user:password@localhost:5432/database"],
    )
    console_dsn: Dsn | None = Field(
        None,
        description="Address of PgBouncer's admin console, for its statistics and its pool mode.",
        examples=["postgresql://stats:password@localhost:6432/pgbouncer"],
    )
    session_dsn: Dsn | None = Field(
        None,
        description="Address of Postgres itself, for what needs a session of its own behind "
        "PgBouncer: GET /v1/listen.",
        examples=["postgresql://user:password@postgres.internal:5432/database"],
    )
    logins: Annotated[Mapping[str, Dsn], Field(max_length=100)] = Field(
        {},
        description="Addresses by client, for those whose statements run as another login; each "
        "has a pool of its own, and a client is known by its token (auth.tokens_dir).",
        examples=[{"reports": "postgresql://reports:password@localhost:5432/database"}],
    )
    password_file: Path | None = Field(
        None,
        description="File with the password for dsn, read again for each new connection and for "
        "changes every recheck_s.",
        examples=["/etc/pgsidecar/password"],
    )
    password_command: Annotated[Sequence[str], Field(max_length=100)] = Field(
        (),
        description="Program and its arguments, run without a shell, whose first line of output is "
        "the password for dsn.",
        examples=[["/usr/local/bin/print-token", "--user=app"]],
    )
    password_life_s: float = Field(
        900.0,
        ge=1,
        le=86_400,
        description="How long the output of password_command is good; after four fifths of it the "
        "program runs again.",
    )
    password_timeout_s: float = Field(
        10.0, gt=0, le=300, description="Longest run of password_command."
    )
    logins_passwords_dir: Path | None = Field(
        None,
        description="Directory of password files for logins, each named like its client; for those "
        "whose address has no password.",
        examples=["/etc/pgsidecar/passwords"],
    )
    kind: Literal[
        "auto",
        "postgres",
        "pgbouncer-session",
        "pgbouncer-transaction",
        "pgbouncer-statement",
    ] = Field("auto", description="What the upstream is; auto finds out when it connects.")
    application_name: str = Field(
        "pgsidecar", max_length=63, description="Name that pg_stat_activity shows for us."
    )
    connect_timeout_s: float = Field(
        5.0, gt=0, le=300, description="Longest time to open one connection, login included."
    )
    recheck_s: float = Field(
        30.0,
        gt=0,
        le=86_400,
        description="Time after which a PgBouncer is looked at again, as its pool mode can be "
        "changed while it runs, and for another password.",
    )
    tls_ca_file: FilePath | None = Field(
        None,
        description="Certificates (PEM) of the authorities that may vouch for the upstream.",
        examples=["/etc/pgsidecar/ca.pem"],
    )

    @model_validator(mode="after")
    def _check_password(self) -> Self:
        given = [name for name in ("password_file", "password_command") if getattr(self, name)]
        if len(given) == 2:  # noqa: PLR2004  # both
            raise ValueError(
                "upstream.password_file and upstream.password_command are both set; keep one"
            )
        if given and self.dsn is not None and has_password(self.dsn):
            raise ValueError(
                f"upstream.{given[0]} is set, and upstream.dsn has a password, too; take that out"
            )
        return self
