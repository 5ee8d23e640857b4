"""The section `session`: what holds for every statement, and what a request may ask for."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from proxy.settings_form import Pattern, SettingName, SettingValue
from proxy.settings_section import Section

DEFAULT_ALLOWED_SETTINGS = (
    *("search_path", "TimeZone", "statement_timeout", "lock_timeout", "synchronous_commit"),
    *("work_mem", "hash_mem_multiplier", "jit", "plan_cache_mode", "enable_*", "app.*"),
)


class SessionSettings(Section):
    """What every statement finds set on the server."""

    time_zone: str | None = Field(
        None,
        min_length=1,
        description="Time zone of every statement; unset, the server's own.",
        examples=["UTC"],
    )
    settings: Mapping[SettingName, SettingValue] = Field(
        {},
        description="Postgres settings, by name, that hold for every statement.",
        examples=[{"search_path": "app", "jit": "off"}],
    )
    role: str | None = Field(
        None,
        min_length=1,
        description="Role that every statement runs as, in place of the login.",
        examples=["app_ro"],
    )
    hooks: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        (),
        description="SQL statements that run once on every new upstream connection.",
        examples=[["set jit = off"]],
    )
    allowed_settings: tuple[Pattern, ...] = Field(
        DEFAULT_ALLOWED_SETTINGS,
        description="Settings that a request may set for its own statement; * stands for any text.",
    )
    allowed_roles: tuple[str, ...] = Field(
        (),
        description="Roles that a request may ask for; raw SQL can leave a role, so it is no "
        "boundary (SECURITY.md).",
        examples=[["app_ro"]],
    )
    roles_are_no_boundary: bool = Field(
        False,
        description="Say that roles and claims are meant for trusted clients, which may send SQL "
        "of their own and leave them (SECURITY.md).",
    )
    allow_claims: bool = Field(
        False,
        description="Let a request say its own `claims` (request.jwt.claims) for row level "
        "security; raw SQL can rewrite them, so they are no boundary for it (SECURITY.md).",
    )
