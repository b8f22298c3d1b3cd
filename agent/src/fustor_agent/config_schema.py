"""
The JSON Schema of `agent-config.yaml`, for editors: made of the models that check the file, with the installed drivers.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic.json_schema import models_json_schema

from fustor_agent.config_file import ID_PATTERN, MODELS, SECTIONS, Drivers, Section
from fustor_common.json_schema import inlined

FILE_NAME: Final = "agent-config.schema.json"
EDITOR_HINT: Final = f"# yaml-language-server: $schema=./{FILE_NAME}"
"""
The first line of a configuration file whose editor is to use the schema beside it.
"""

_REFERENCE: Final = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}
_ABOUT: Final[dict[Section, str]] = {
    "sources": "Where data comes from, by id.",
    "pushers": "Where data goes, by id.",
    "syncs": "One source joined to one pusher, by id.",
}


def schema_of(drivers: Drivers) -> dict[str, Any]:
    """
    Return the schema.

    Args:
        drivers: What is installed.
    """
    _, made = models_json_schema([(MODELS[section], "validation") for section in SECTIONS])
    parts: dict[str, Any] = made["$defs"]
    for section in SECTIONS:
        entry = parts[MODELS[section].__name__]
        if section != "syncs":
            _know_drivers(entry, section, drivers)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Fustor Agent configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            section: {
                "description": _ABOUT[section],
                "type": ["object", "null"],
                "propertyNames": {"pattern": f"^{ID_PATTERN}$"},
                "additionalProperties": {"$ref": f"#/$defs/{MODELS[section].__name__}"},
            }
            for section in SECTIONS
        },
        "$defs": parts,
    }


def _know_drivers(entry: dict[str, Any], section: Section, drivers: Drivers) -> None:
    entry["properties"]["driver"]["enum"] = sorted(drivers[section])
    rules = []
    for name, model in sorted(drivers[section].items()):
        if model is None:
            continue
        params = inlined(model.model_json_schema())
        params["properties"] = {key: _or_reference(value) for key, value in params.get("properties", {}).items()}
        rules.append(
            {
                "if": {"properties": {"driver": {"const": name}}, "required": ["driver"]},
                "then": {"properties": {"driver_params": params}},
            }
        )
    if rules:
        entry["allOf"] = rules


def _or_reference(schema: dict[str, Any]) -> dict[str, Any]:
    """
    Allow `${NAME}` beside a value that is no text.
    """
    if schema.get("type") == "string" and not {"pattern", "enum", "const"} & schema.keys():
        return schema
    about: dict[str, Any] = {name: schema[name] for name in ("title", "description", "default") if name in schema}
    return {**about, "anyOf": [schema, _REFERENCE]}
