"""
Following the `$ref` of a JSON Schema to what it stands for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def followed(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    Return what a schema stands for: when it is a reference, what that refers to, with what stands beside the reference.

    Args:
        schema: A part of `root`.
        root: The whole document, which holds the definitions.
    """
    seen: set[str] = set()
    while isinstance(reference := schema.get("$ref"), str):
        if reference in seen:
            return {}
        seen.add(reference)
        target: Any = root
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
        schema = {**target, **{name: value for name, value in schema.items() if name != "$ref"}}
    return schema


def inlined(schema: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a schema that stands by itself: its definitions in place of the references to them, so that it can be put into another
    document. Where a definition holds itself, it allows anything from the second time on.
    """
    made: dict[str, Any] = _inlined({name: part for name, part in schema.items() if name != "$defs"}, schema, ())
    return made


def _inlined(part: Any, root: Mapping[str, Any], within: tuple[str, ...]) -> Any:
    if isinstance(part, list):
        return [_inlined(item, root, within) for item in part]
    if not isinstance(part, dict):
        return part
    reference = part.get("$ref")
    if isinstance(reference, str):
        return {} if reference in within else _inlined(followed(part, root), root, (*within, reference))
    return {name: _inlined(value, root, within) for name, value in part.items()}
