"""Where settings come from: flag over environment over file over default."""

import difflib
import json
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic_settings
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from proxy.settings import Settings
from proxy.settings_catalogue import ENVIRONMENT_PREFIX, Entry, list_entries

CONFIG_VARIABLE = f"{ENVIRONMENT_PREFIX}CONFIG"
TOKEN_VARIABLE = f"{ENVIRONMENT_PREFIX}TOKEN"  # with which it does
URL_VARIABLE = f"{ENVIRONMENT_PREFIX}URL"  # the service that `pgsidecar query` asks

Entries = Mapping[str, Entry]


class SettingsError(Exception):
    """Settings that can't be used: one line for each mistake, with its remedy and no value."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = tuple(lines)
        super().__init__("\n".join(self.lines))


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, where each came from ("flag --pool.size", "default"), and what looked odd."""

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Given:
    """A value that somebody set, and where."""

    value: Any  # whatever a TOML file holds
    origin: str


class _TextSource(pydantic_settings.EnvSettingsSource):
    """Reads texts by dotted name instead of the process environment."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        super().__init__(Settings, env_nested_delimiter=".")

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._texts


def load(
    argv_overrides: Mapping[str, str], environ: Mapping[str, str], config_file: Path | None
) -> Loaded:
    """Make the settings from flags by dotted name, environment variables and a TOML file.

    An empty variable counts as unset.

    Raises:
        SettingsError: every mistake of every source.
    """
    entries = list_entries()
    document = _read_document(config_file) if config_file else {}
    given = {
        **_take_keys(document, f"file {config_file}", entries),
        **_take_variables(environ, entries),
        **_take_flags(argv_overrides, entries),
    }
    unknown = [
        *_find_unknown_keys(document, f"file {config_file}", entries),
        *_find_unknown_flags(argv_overrides, entries),
    ]
    settings, mistakes = _validate(given, entries)
    if settings is None or unknown:
        raise SettingsError([*unknown, *mistakes])
    origins = {name: given[name].origin if name in given else "default" for name in entries}
    return Loaded(settings, origins, tuple(_find_unknown_variables(environ, entries)))


def describe_unknown(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Say that `name` is unknown, with the nearest known one as compared behind `prefix`."""
    tails = [other.removeprefix(prefix) for other in known]
    nearest = difflib.get_close_matches(name.removeprefix(prefix), tails, n=1, cutoff=0.7)
    hint = f"did you mean {prefix}{nearest[0]}?" if nearest else "`pgsidecar config` lists them"
    return f"{name} is not a setting; {hint}"


def _read_document(path: Path) -> dict[str, Any]:  # Any: whatever a TOML file holds
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError([f"file {path} can't be read: {error.strerror}"]) from None
    except ValueError as error:  # no TOML, or no UTF-8
        raise SettingsError([f"file {path} is not TOML: {error}"]) from None


def _take_keys(document: Mapping[str, Any], origin: str, entries: Entries) -> dict[str, _Given]:
    return {
        entry.name: _Given(document[entry.section][entry.key], origin)
        for entry in entries.values()
        if entry.key in _table(document, entry.section)
    }


def _take_variables(environ: Mapping[str, str], entries: Entries) -> dict[str, _Given]:
    return {
        entry.name: _Given(_decode(entry, environ[entry.variable]), f"environment {entry.variable}")
        for entry in entries.values()
        if environ.get(entry.variable)
    }


def _take_flags(overrides: Mapping[str, str], entries: Entries) -> dict[str, _Given]:
    return {
        entry.name: _Given(_decode(entry, overrides[entry.name]), f"flag {entry.flag}")
        for entry in entries.values()
        if entry.name in overrides
    }


def _decode(entry: Entry, text: str) -> Any:  # Any: a text, or what its JSON holds
    """Read maps and lists as JSON; other text, and JSON that isn't any, is left to validation."""
    try:
        return _TextSource({entry.name: text})()[entry.section][entry.key]
    except pydantic_settings.SettingsError:
        return text


def _table(document: Mapping[str, Any], section: str) -> Mapping[str, Any]:
    table = document.get(section)
    return table if isinstance(table, dict) else {}


def _find_unknown_keys(document: Mapping[str, Any], origin: str, entries: Entries) -> Iterator[str]:
    sections = list(dict.fromkeys(entry.section for entry in entries.values()))
    for section, table in document.items():
        if section not in sections:
            yield f"{origin}: {describe_unknown(section, [*sections, *entries])}"
        elif not isinstance(table, dict):
            yield f"{origin}: {section} is a section; write [{section}] and its settings below"
    for section in sections:
        for key in _table(document, section):
            if f"{section}.{key}" not in entries:
                yield f"{origin}: {describe_unknown(f'{section}.{key}', entries)}"


def _find_unknown_flags(overrides: Mapping[str, str], entries: Entries) -> Iterator[str]:
    flags = [entry.flag for entry in entries.values()]
    for name in overrides:
        if name not in entries:
            yield describe_unknown(f"--{name}", flags)


def _find_unknown_variables(environ: Mapping[str, str], entries: Entries) -> Iterator[str]:
    """Warnings only: Kubernetes sets PGSIDECAR_PORT and the like for a Service of that name."""
    known = [
        *(CONFIG_VARIABLE, URL_VARIABLE, TOKEN_VARIABLE),
        *(entry.variable for entry in entries.values()),
    ]
    for name in environ:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in known:
            yield describe_unknown(name, known, ENVIRONMENT_PREFIX)


def _validate(given: Mapping[str, _Given], entries: Entries) -> tuple[Settings | None, list[str]]:
    sections: dict[str, dict[str, Any]] = defaultdict(dict)
    for name, value in given.items():
        sections[entries[name].section][entries[name].key] = value.value
    try:
        return Settings.model_validate(sections), []
    except ValidationError as error:
        return None, [_describe(detail, given, entries) for detail in error.errors()]


def _describe(detail: ErrorDetails, given: Mapping[str, _Given], entries: Entries) -> str:
    """Say what is wrong with a setting; pydantic's own text would quote the value."""
    name = ".".join(map(str, detail["loc"][:2]))
    rule = detail.get("ctx", {}).get("error")
    if name not in entries:  # a rule over several settings, which it names itself
        return str(rule)
    start = f"{name} ({given[name].origin})"
    if isinstance(rule, ValueError):
        return f"{start} {rule}"
    entry = entries[name]
    example = f", such as {json.dumps(entry.example)}" if entry.is_json else ""
    return f"{start}: {detail['msg']}; it takes: {entry.form}{example}"
