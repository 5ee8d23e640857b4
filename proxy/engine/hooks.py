"""The configured session: what every statement finds set, and how each part gets there.

| part | Postgres, or surely a PgBouncer in session mode | any other PgBouncer |
|---|---|---|
| session.time_zone | startup | startup: PgBouncer tracks it |
| session.settings, session.role | connect hook | in the flight; tracked ones as connect hooks |
| session.hooks | connect hook | as settings, where they are SET; others are refused |
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from proxy.engine.profile import UpstreamProfile
from proxy.errors import ProxyError
from proxy.settings_session import SessionSettings
from proxy.sql.set_command import parse_set
from proxy.sql.setting import OUR_SETTINGS

TRACKED = frozenset({"timezone", "application_name"})  # and those that are ours alone
_AT_BEGIN = "default_transaction_"
_REMEDY = (
    "have an administrator ALTER ROLE … SET it, or set upstream.kind = pgbouncer-session where "
    "that is PgBouncer's pool mode"
)
_SET_ALL = """
select pg_catalog.set_config(name, value, false)
from unnest($1::text[], $2::text[]) as setting(name, value)
"""


@dataclass(frozen=True, slots=True)
class SessionPlan:
    """Where each part of the configured session travels."""

    startup: Mapping[str, str]
    connect: Mapping[str, str]
    hooks: tuple[str, ...]
    flight: Mapping[str, str]

    @property
    def on_connect(self) -> Mapping[str, str]:
        """What the connect hooks set, as far as their words tell."""
        return {**self.connect, **dict(filter(None, map(parse_set, self.hooks)))}

    @property
    def delivery(self) -> Mapping[str, str]:
        """How each setting is delivered, by name; shown to people, so without values."""
        ways = {"startup": self.startup, "connect hook": self.on_connect, "flight": self.flight}
        return {name: way for way, settings in ways.items() for name in settings}


def plan_session(session: SessionSettings, profile: UpstreamProfile) -> SessionPlan:
    """Decide how the configured session is delivered to this upstream.

    Raises:
        ProxyError: a hook or setting that no delivery can make hold, or that is ours; the sentence
            has the remedy.
    """
    _check_ours(session.hooks)
    startup = {"TimeZone": session.time_zone} if session.time_zone is not None else {}
    role = {"role": session.role} if session.role is not None else {}
    if profile.is_session_proven:
        return SessionPlan(startup, {**session.settings, **role}, session.hooks, flight={})
    understood = dict(_understand(hook) for hook in session.hooks)
    settings = {**session.settings, **understood, **role}
    _check_in_time(settings)
    tracked = {name for name in settings if name.lower() in TRACKED}
    return SessionPlan(
        startup,
        connect={name: settings[name] for name in settings if name in tracked},
        hooks=(),
        flight={name: settings[name] for name in settings if name not in tracked},
    )


def _check_ours(hooks: Sequence[str]) -> None:
    for name, _ in filter(None, map(parse_set, hooks)):
        if name.lower() in OUR_SETTINGS:
            raise ProxyError(
                f"session.hooks sets {name}, which pgsidecar sets itself since it changes how "
                "values are read; remove it"
            )


def _check_in_time(settings: Mapping[str, str]) -> None:
    """Refuse what a transaction reads as it begins: the flight's has begun before its settings."""
    for name in settings:
        if name.lower().startswith(_AT_BEGIN):
            raise ProxyError(
                f"session: {name} can't hold behind PgBouncer, since it travels with each "
                f"statement, whose transaction has begun by then; {_REMEDY}"
            )


def _understand(hook: str) -> tuple[str, str]:
    """Read a hook as a setting, since that can travel with each statement."""
    setting = parse_set(hook)
    if setting is None:
        raise ProxyError(
            f"session.hooks: `{hook}` can't hold behind PgBouncer, whose server connections are "
            "shared with strangers; only SET name = value can travel with each statement. Write "
            f"it so, {_REMEDY}"
        )
    return setting


def install_hooks(engine: AsyncEngine, plan: SessionPlan) -> None:
    """Have every new connection set what the plan says, in the form that holds.

    By the driver itself: a `cursor.execute` would open a transaction that the pool's first
    rollback undoes, and the setting with it (docs/explanation/connect-hooks.md).
    """

    def on_connect(connection: Any, _record: object) -> None:  # SQLAlchemy's adapter of asyncpg
        connection.run_async(lambda driver: _run(driver, plan.connect, plan.hooks))

    if plan.connect or plan.hooks:
        event.listen(engine.sync_engine, "connect", on_connect)


async def _run(
    driver: "asyncpg.Connection[Any]", settings: Mapping[str, str], hooks: Sequence[str]
) -> None:
    try:
        if settings:
            await driver.execute(_SET_ALL, list(settings), list(settings.values()))
        for hook in hooks:
            await driver.execute(hook)
    except asyncpg.PostgresConnectionError:
        raise  # lost, not refused
    except asyncpg.PostgresError as cause:
        raise ProxyError(f"the connect hooks failed: {cause}") from cause
