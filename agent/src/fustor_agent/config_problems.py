"""
What is wrong in the configuration file, said so that a person can mend it: where, what, what is allowed, and the name probably meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from fustor_agent.secret_values import is_secret
from fustor_agent.yaml_places import Place
from fustor_common.json_schema import followed
from fustor_core.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One thing that is wrong in the file.

    Attributes:
        file: Path of the file.
        line, column: Counted from 1; None when they can't be told.
        key: Where: `sources.files.uri`; "" = the file as a whole.
        message: What is wrong.
        hint: What is allowed, and the name that was probably meant.
    """

    file: str
    line: int | None
    column: int | None
    key: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self._what} ({self.hint})"

    @property
    def _what(self) -> str:
        at = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{at}: {f'`{self.key}`: ' if self.key else ''}{self.message}"

    def to_error(self) -> ConfigError:
        """
        Return it as the error to raise.
        """
        return ConfigError(self._what, hint=self.hint, context=self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """
        Return it as plain data. Not `key`: what stands under that name in answers and logs is masked.
        """
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "where": self.key,
            "message": self.message,
            "hint": self.hint,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Something wrong at a place below what was checked.
    """

    place: Place
    message: str
    hint: str


def one_of(known: Iterable[str], what: str) -> str:
    """
    Return the hint that lists what is allowed.
    """
    return f"{what}: {', '.join(known) or 'none'}"


def nearest(name: str, known: Iterable[str]) -> str:
    """
    Return "did you mean `x`? " for the known name that resembles `name` most, "" when none does.
    """
    by_small = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), by_small, n=1, cutoff=0.6)
    return f"did you mean `{by_small[found[0]]}`? " if found else ""


def findings(model: type[BaseModel], entry: Mapping[str, Any]) -> list[Finding]:
    """
    Check an entry against its model; what is misspelt is told before what is missing for it.
    """
    try:
        model.model_validate(dict(entry))
    except ValidationError as exc:
        errors: list[Any] = exc.errors(include_url=False)
    else:
        return []
    schema = model.model_json_schema()
    found: dict[Place, Finding] = {}
    # A key that neither kind of credential knows says more than what either kind lacks.
    misspelt = any(error["loc"][:1] == ("credential",) and error["type"] == "extra_forbidden" for error in errors)
    for error in sorted(errors, key=lambda one: one["type"] == "missing"):
        # The parts that pydantic adds for the members of a union are not in the file.
        place = tuple(str(part) for part in error["loc"] if not str(part).endswith("Credential"))
        if misspelt and place[:1] == ("credential",) and error["type"] == "missing":
            continue
        finding = _finding(schema, place, error)
        if finding is not None:
            found.setdefault(place, finding)
    return list(found.values())


def _finding(schema: Mapping[str, Any], place: Place, error: Mapping[str, Any]) -> Finding | None:
    kind, name = error["type"], place[-1] if place else ""
    given = error.get("input")
    if isinstance(given, str) and "${" in given and kind not in ("extra_forbidden", "missing"):
        return None  # what it stands for is known, and checked, when a sync starts
    if place[:1] == ("credential",):
        allowed = "allowed: {user: ..., passwd: ...} or {key: ..., user: ...}"
        near = nearest(name, ("user", "passwd", "key")) if kind == "extra_forbidden" else ""
        message = {"extra_forbidden": "unknown key", "missing": "required, and not there"}.get(kind, "must be text")
        if len(place) == 1:
            message = "is no credential"
        return Finding(place, message, near + allowed)
    if kind == "extra_forbidden":
        known = list(_at(schema, schema, place[:-1]).get("properties", {}))
        return Finding(place, "unknown key", nearest(name, known) + one_of(known, "allowed keys"))
    wanted = _at(schema, schema, place)
    if kind == "missing":
        about = f"; {wanted['description']}" if "description" in wanted else ""
        return Finding(place, "required, and not there", f"allowed: {allowed_by(wanted, schema)}{about}")
    message = str(error["msg"]).removeprefix("Value error, ").replace("Input should be", "must be", 1)
    if isinstance(given, str | int | float) and not is_secret(name):
        message += f", not {given!r}"
    choices = [str(one) for one in wanted.get("enum", ())]
    near = nearest(given, choices) if isinstance(given, str) else ""
    about = f"; {wanted['description']}" if "description" in wanted else ""
    return Finding(place, message, f"{near}allowed: {allowed_by(wanted, schema)}{about}")


def _at(schema: Mapping[str, Any], root: Mapping[str, Any], place: Place) -> Mapping[str, Any]:
    """
    Return the part of a JSON Schema that describes a place; {} when there is none.
    """
    schema = followed(schema, root)
    if not place:
        return schema
    name, rest = place[0], place[1:]
    if name in schema.get("properties", {}):
        return _at(schema["properties"][name], root, rest)
    if "items" in schema and name.isdigit():
        return _at(schema["items"], root, rest)
    for member in schema.get("anyOf", ()):
        found = _at(member, root, place)
        if found:
            return found
    more = schema.get("additionalProperties")
    return _at(more, root, rest) if isinstance(more, dict) else {}


_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "keys and values",
    "null": "nothing",
}
_BOUNDS = (
    ("minimum", "at least {}"),
    ("exclusiveMinimum", "more than {}"),
    ("maximum", "at most {}"),
    ("exclusiveMaximum", "less than {}"),
    ("pattern", "that matches {}"),
)


def allowed_by(schema: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """
    Return in words what a JSON Schema allows.
    """
    schema = followed(schema, root)
    if "enum" in schema:
        return ", ".join(str(one) for one in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return " or ".join(allowed_by(member, root) for member in schema["anyOf"])
    kind = str(schema.get("type", ""))
    if kind == "array":
        least = " with at least one item" if schema.get("minItems") else ""
        return f"a list{least}, each {allowed_by(schema.get('items', {}), root)}"
    if kind == "object" and schema.get("properties"):
        return "{" + ", ".join(f"{name}: ..." for name in schema["properties"]) + "}"
    words = _TYPES.get(kind, "any value")
    if kind == "string" and schema.get("minLength"):
        words += " that is not empty"
    bounds = [text.format(schema[name]) for name, text in _BOUNDS if name in schema]
    return " ".join([words, ", ".join(bounds)]) if bounds else words
