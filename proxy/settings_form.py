"""The forms of sections and values; messages go on after the setting's name."""

import os
import re
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from proxy.sql.setting import OUR_SETTINGS, is_closed, is_name

_DSN_FORM = "postgresql://user:password@host:5432/database"
_DSN = re.compile(
    r"(?P<database>[a-z][a-z0-9]*)(?:\+(?P<driver>\w+))?://(?P<rest>.+)", re.IGNORECASE
)
_LAST_PORT = 65535
_SOCKET_PATH_BYTES = 107  # sockaddr_un holds 108 with the closing NUL


def _check_dsn(dsn: SecretStr) -> SecretStr:
    """Let pass what asyncpg can read; say the mistake without any part that may hold a password."""
    text = dsn.get_secret_value().strip()  # secrets made with `echo` end in a line break
    match = _DSN.fullmatch(text)
    if match is None:
        raise ValueError(f"is not a URL; write {_DSN_FORM}")
    if match["database"].lower() not in {"postgres", "postgresql"}:
        raise ValueError(f"is not for Postgres, the only database served; write {_DSN_FORM}")
    if match["driver"] not in {None, "asyncpg"}:
        raise ValueError(f"names the driver {match['driver']}, not asyncpg; write {_DSN_FORM}")
    authority, _, path = match["rest"].partition("/")
    if "#" in match["rest"] or "@" in path.partition("?")[0]:
        raise ValueError("has a / or # in its user or password; write %2F for / and %23 for #")
    hosts = authority.partition("?")[0].rpartition("@")[2]
    if not all(_is_port(host) for host in hosts.split(",")):
        raise ValueError(f"has a port that isn't a number from 1 to {_LAST_PORT}")
    return SecretStr(text)


def _is_port(host: str) -> bool:
    """Whether `host`, `host:port` or `[::1]:port` ends in a port that exists, if in any."""
    port = host.rpartition("]")[2].partition(":")[2]
    return not port or (port.isdecimal() and 0 < int(port) <= _LAST_PORT)


def has_password(dsn: SecretStr) -> bool:
    """Whether the address itself has a password."""
    parts = urlsplit(dsn.get_secret_value())
    return bool(parts.password) or "password" in parse_qs(parts.query)


def user_name(dsn: SecretStr) -> str | None:
    """Name of the login that the address has, if any."""
    parts = urlsplit(dsn.get_secret_value())
    return unquote(parts.username or "") or parse_qs(parts.query).get("user", [None])[0]


def _check_socket_path(path: Path) -> Path:
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
        raise ValueError(
            f"is longer than the {_SOCKET_PATH_BYTES} bytes that the system allows for a socket; "
            "choose a shorter path, such as /run/pgsidecar.sock"
        )
    return path


def _check_setting_name(name: str) -> str:
    if not is_name(name):
        raise ValueError(
            "has a key that cannot be a setting's name; write names such as search_path, app.tenant"
        )
    if name.lower() in OUR_SETTINGS:
        raise ValueError(
            f"has {name}, which pgsidecar sets itself since it changes how values are read; "
            "remove it"
        )
    return name


def _check_pattern(pattern: str) -> str:
    if is_closed(pattern):
        raise ValueError(f"has {pattern}, which no request may ever set; remove it")
    return pattern


def _write_value(value: Any) -> Any:  # whatever a TOML file or JSON holds
    """Write a number or boolean as Postgres reads it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value) if isinstance(value, int | float) else value


Dsn = Annotated[SecretStr, AfterValidator(_check_dsn)]
Port = Annotated[int, Field(ge=0, le=65535)]
SocketPath = Annotated[Path, AfterValidator(_check_socket_path)]
SettingName = Annotated[str, AfterValidator(_check_setting_name)]
SettingValue = Annotated[str, BeforeValidator(_write_value)]
Pattern = Annotated[str, Field(min_length=1), AfterValidator(_check_pattern)]
