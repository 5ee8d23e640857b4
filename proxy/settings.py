"""Every setting: name, unit, bounds, default and help sentence.

A field's `description` is its only help text; the command line's help, config/reference.toml and
docs/reference/settings.md come from it. `proxy/settings_source.py` fills these models.
"""

import ipaddress
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from proxy.settings_auth import AuthSettings
from proxy.settings_embedded import EmbeddedSettings
from proxy.settings_form import has_password, user_name
from proxy.settings_http import HttpSettings, OpsSettings
from proxy.settings_section import Section
from proxy.settings_session import SessionSettings
from proxy.settings_sql import SqlSettings
from proxy.settings_transaction import TransactionSettings
from proxy.settings_upstream import UpstreamSettings

MIB = 1024 * 1024


class PoolSettings(Section):
    """Our connections to the upstream."""

    size: int = Field(20, ge=1, le=1000, description="Connections kept open to the upstream.")
    overflow: int = Field(
        10, ge=0, le=1000, description="Extra connections allowed in a burst, closed after it."
    )
    login_size: int = Field(
        4,
        ge=1,
        le=1000,
        description="Connections at most for each client of upstream.logins, beside the others.",
    )
    checkout_timeout_s: float = Field(
        2.0, gt=0, le=600, description="Longest wait of a request for a connection."
    )
    queue_size: int = Field(
        1000, ge=0, le=100_000, description="Requests that may wait; one more is refused at once."
    )
    max_age_s: float = Field(
        240.0,
        ge=1,
        le=86_400,
        description="Age at which a connection is replaced, at random up to a fifth earlier; below "
        "the limits of PgBouncer and of load balancers.",
    )
    idle_s: float = Field(
        1.0,
        ge=0,
        le=3600,
        description="Time without work after which a lane goes back to SQLAlchemy's pool.",
    )


class LimitSettings(Section):
    """What one request may take."""

    rows: int = Field(
        10_000, ge=1, le=10_000_000, description="Rows of an answer that is not streamed."
    )
    bytes: int = Field(
        10 * MIB, ge=1024, le=1024 * MIB, description="Size of an answer that is not streamed."
    )
    timeout_s: float = Field(
        30.0, gt=0, le=86_400, description="Deadline of a request that names none."
    )
    timeout_max_s: float = Field(
        300.0, gt=0, le=86_400, description="Longest deadline that a request may name."
    )
    stream_timeout_s: float = Field(
        3600.0, gt=0, le=604_800, description="Longest life of a stream, or of a bulk load."
    )
    stream_stall_s: float = Field(
        60.0,
        gt=0,
        le=3600,
        description="Longest time that the reader of a stream may take nothing, or the sender of a "
        "bulk load send nothing.",
    )
    held_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="Share of the pool that open transactions may hold, at least one connection.",
    )
    body_bytes: int = Field(
        4 * MIB,
        ge=1024,
        le=1024 * MIB,
        description="Size of a request's body; of a bulk load in NDJSON, that of a line.",
    )
    listeners: int = Field(
        20,
        ge=0,
        le=10_000,
        description="Clients that may listen at once; each has an upstream connection of its own, "
        "beside the pool.",
    )
    batch_statements: int = Field(1000, ge=1, le=100_000, description="Statements of a batch.")
    batch_parallel: int = Field(
        4, ge=1, le=1000, description="Statements of a parallel batch that run at once."
    )
    sql_bytes: int = Field(MIB, ge=1024, le=1024 * MIB, description="Size of one statement.")
    message_bytes: int = Field(
        64 * MIB,
        ge=256 * 1024,
        le=1024 * MIB,
        description="Size of one message from the server, which holds a whole row.",
    )

    @model_validator(mode="after")
    def _check_ceiling(self) -> Self:
        if self.timeout_max_s < self.timeout_s:
            raise ValueError(
                "limits.timeout_max_s is below limits.timeout_s, the deadline it should cap; "
                "raise it or lower limits.timeout_s"
            )
        return self


class LogSettings(Section):
    """Log lines, on standard output."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least level that is logged."
    )
    format: Literal["json", "text"] = Field(
        "json", description="json has one object per line; text is for people."
    )
    access: bool = Field(True, description="Log one line per request.")


class Settings(BaseSettings):
    """All settings, made once by `settings_source.load` and passed to whoever needs a section."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    upstream: UpstreamSettings = UpstreamSettings()
    pool: PoolSettings = PoolSettings()
    http: HttpSettings = HttpSettings()
    ops: OpsSettings = OpsSettings()
    session: SessionSettings = SessionSettings()
    limits: LimitSettings = LimitSettings()
    transactions: TransactionSettings = TransactionSettings()
    sql: SqlSettings = SqlSettings()
    auth: AuthSettings = AuthSettings()
    log: LogSettings = LogSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        *_args: PydanticBaseSettingsSource,
        **_kwargs: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from the constructor alone: nothing but the command reads the environment."""
        return (init_settings,)

    @model_validator(mode="after")
    def _check_exposure(self) -> Self:
        is_guarded = self.auth.has_tokens or self.http.unix_socket or is_loopback(self.http.host)
        if is_guarded or self.auth.open_network:
            return self
        raise ValueError(
            "http.host is not a loopback address, so anybody on the network could run SQL; "
            "use 127.0.0.1, set auth.tokens_dir, or say auth.open_network = true where the network "
            "itself is guarded"
        )

    @model_validator(mode="after")
    def _check_boundary(self) -> Self:
        """Let nobody take for a boundary what raw SQL can leave."""
        session = self.session
        names = ("role", "allowed_roles", "allow_claims")
        left = [f"session.{name}" for name in names if getattr(session, name)]
        if not left or self.sql.mode == "named" or session.roles_are_no_boundary:
            return self
        raise ValueError(
            f"{left[0]} keeps nobody in who sends SQL of its own: any statement can leave a role "
            "and rewrite claims; set sql.mode = named, or give clients logins of their own "
            "(upstream.logins), or say session.roles_are_no_boundary = true where you trust them"
        )

    @model_validator(mode="after")
    def _check_logins(self) -> Self:
        for name, clients in (
            ("upstream.logins", self.upstream.logins),
            ("auth.clients", self.auth.clients),
        ):
            if clients and not self.auth.has_tokens:
                raise ValueError(
                    f"{name} needs auth.tokens_dir, or auth.jwt_keys_file: "
                    "a client is known by its token alone"
                )
        return self

    def for_login(self, client: str) -> Self:
        """Copy these settings for an entry of `upstream.logins`."""
        dsn, folder = self.upstream.logins[client], self.upstream.logins_passwords_dir
        pool = {"size": self.pool.login_size, "overflow": 0}
        copied = self.with_upstream(
            dsn.get_secret_value(),
            password_file=folder / client if folder and not has_password(dsn) else None,
        )
        return copied.model_copy(update={"pool": self.pool.model_copy(update=pool)})

    def for_session(self, dsn: SecretStr) -> Self:
        """Copy these settings for `upstream.session_dsn`: the same login has the same password."""
        upstream = self.upstream
        is_same = upstream.dsn is not None and user_name(dsn) == user_name(upstream.dsn)
        kept = ("password_file", "password_command") if is_same and not has_password(dsn) else ()
        return self.with_upstream(
            dsn.get_secret_value(), **{name: getattr(upstream, name) for name in kept}
        )

    @property
    def has_strangers(self) -> bool:
        """Whether anybody on the network reaches the operations listener, unknown to us."""
        is_guarded = self.auth.has_tokens or self.auth.open_network or is_loopback(self.ops.host)
        return not is_guarded

    def with_upstream(self, dsn: str, **password: object) -> Self:
        """Copy these settings with another `upstream.dsn`, and `password_file` and the like."""
        update = {"dsn": SecretStr(dsn), "password_file": None, "password_command": (), **password}
        upstream = self.upstream.model_copy(update=update)
        return self.model_copy(update={"upstream": upstream})


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
