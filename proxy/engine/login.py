"""What is asked of the session at login, and whether it holds.

PgBouncer drops what its `ignore_startup_parameters` lists without a word, so a login that succeeds
proves nothing (docs/explanation/pgbouncer.md).
"""

import re
from collections.abc import Mapping
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from proxy.engine.driver import Driver
from proxy.engine.factory import startup_parameters
from proxy.errors import ProxyError
from proxy.settings import Settings

# Postgres itself says what it makes of a value ("5min" for 300000), for this statement only.
# Not every word of a URL is a setting (sslmode), and some can't be set once logged in (port).
_FIND_LOST = """
select array_agg(asked.name order by asked.name)
from unnest($1::text[], $2::text[]) as asked(name, value)
left join pg_catalog.pg_settings as known on lower(known.name) = asked.name
cross join lateral pg_catalog.current_setting(asked.name, true) as is_now(value)
where case
    when known.context not in ('user', 'superuser') then false
    when is_now.value is null then asked.name like '%.%'
    when asked.name = 'application_name'  -- PgBouncer may add our host to it
        then not starts_with(is_now.value, pg_catalog.set_config(asked.name, asked.value, true))
    else is_now.value <> pg_catalog.set_config(asked.name, asked.value, true)
end
"""
_OPTION = re.compile(r"(?:^|\s)(?:-c\s*|--)(?P<name>[\w.-]+)=(?P<value>(?:\\.|\S)*)", re.DOTALL)


async def check_login(connection: Driver, settings: Settings) -> None:
    """Compare what was asked at login with what the server has.

    Raises:
        ProxyError: a setting was dropped on the way; the sentence says which, and the remedy.
    """
    asked = asked_settings(settings)
    lost = await connection.fetchval(_FIND_LOST, list(asked), list(asked.values()))
    if lost:
        raise ProxyError(
            f"{', '.join(lost)} is set at login, but PgBouncer drops it, as its "
            "ignore_startup_parameters says; set it in session.settings, which travel with every "
            "statement, instead of upstream.dsn"
        )


def asked_settings(settings: Settings) -> Mapping[str, str]:
    """Everything that the login asks for, by names in lower case.

    As Postgres has it, a parameter outdoes the same name in `options`; as asyncpg has it, what we
    ask for ourselves outdoes the DSN. The DSN's own words (sslmode) are among them.
    """
    query = dict(parse_qsl(_split_dsn(settings).query))
    asked = {**_read_options(query.pop("options", "")), **query, **startup_parameters(settings)}
    return {name.lower(): value for name, value in asked.items()}


def database_name(settings: Settings) -> str | None:
    """The database's name as the DSN has it, which behind PgBouncer may be an alias."""
    dsn = _split_dsn(settings)
    query = dict(parse_qsl(dsn.query))
    return unquote(dsn.path[1:]) or query.get("dbname") or query.get("database")


def _split_dsn(settings: Settings) -> SplitResult:
    dsn = settings.upstream.dsn
    return urlsplit(dsn.get_secret_value() if dsn is not None else "")


def _read_options(options: str) -> dict[str, str]:
    """Read `-c name=value --name=value`, where a backslash keeps the next character.

    Source: PostgreSQL, src/backend/utils/init/postinit.c (pg_split_opts) and guc.c.
    """
    return {
        match["name"].replace("-", "_"): re.sub(r"\\(.)", r"\1", match["value"])
        for match in _OPTION.finditer(options)
    }
