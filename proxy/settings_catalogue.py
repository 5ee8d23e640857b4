"""The list of all settings, read from the models: names, forms, defaults, help."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from proxy.settings import Settings

ENVIRONMENT_PREFIX = "PGSIDECAR_"

Schema = Mapping[str, Any]  # JSON Schema, as pydantic writes it


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting, as people see it.

    `form` says type, bounds and unit ("integer, 1 to 1000"); `default` and `example` are JSON
    values, `default` None for a setting that is unset.
    """

    section: str
    key: str
    help: str
    form: str
    default: Any  # the model's, of any type that JSON has
    example: Any
    is_json: bool
    is_secret: bool

    @property
    def name(self) -> str:
        """Its dotted name, as in messages."""
        return f"{self.section}.{self.key}"

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"{ENVIRONMENT_PREFIX}{self.section}__{self.key}".upper()

    @property
    def flag(self) -> str:
        """Its command-line flag."""
        return f"--{self.name}"


def list_sections() -> dict[str, str]:
    """Every section's name with its help sentence."""
    return {name: (model.__doc__ or "").strip() for name, model in _walk_sections()}


def list_entries() -> dict[str, Entry]:
    """Every setting by its dotted name, in the order of the models."""
    entries = (
        _read_entry(section, key, schema)
        for section, model in _walk_sections()
        for key, schema in model.model_json_schema()["properties"].items()
    )
    return {entry.name: entry for entry in entries}


def write_toml(value: Any) -> str:  # Any: as JSON has it
    """Write a JSON value, but no null, as a TOML value on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {write_toml(v)}" for k, v in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _walk_sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in Settings.model_fields.items():
        model = field.annotation
        assert isinstance(model, type)  # noqa: S101  # a section is never optional
        assert issubclass(model, BaseModel)  # noqa: S101  # nor anything but a model
        yield name, model


def _read_entry(section: str, key: str, schema: Schema) -> Entry:
    choice = schema.get("anyOf", [schema])[0]  # an optional setting is its type or null
    default = schema["default"]
    return Entry(
        section=section,
        key=key,
        help=schema["description"],
        form=_describe_form(key, choice),
        default=default,
        example=schema["examples"][0] if "examples" in schema else default,
        is_json=choice["type"] in {"array", "object"},
        is_secret=choice.get("format") == "password",
    )


def _describe_form(key: str, schema: Schema) -> str:
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if schema["type"] in {"integer", "number"}:
        return f"{schema['type']}{_describe_unit(key)}, {_describe_bounds(schema)}"
    if "format" in schema:
        return {"password": "URL", "path": "path", "file-path": "path of a file"}[schema["format"]]
    forms = {
        "boolean": "true | false",
        "string": "text",
        "array": "list of texts",
        "object": "map of texts",
    }
    if "$ref" in schema.get("additionalProperties", {}):
        return "map of maps"
    return forms[schema["type"]]


def _describe_unit(key: str) -> str:
    if key.endswith("_s"):
        return " of seconds"
    return " of bytes" if key.endswith("bytes") else ""


def _describe_bounds(schema: Schema) -> str:
    if "exclusiveMinimum" in schema:
        return f"above {schema['exclusiveMinimum']} to {schema['maximum']}"
    return f"{schema['minimum']} to {schema['maximum']}"
