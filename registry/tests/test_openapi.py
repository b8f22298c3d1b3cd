"""
The OpenAPI document is complete: examples that hold, every error declared, and nothing in it that is not so.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter

from fustor_registry.app import create_app
from fustor_registry.settings import RegistrySettings


@pytest.fixture
def document() -> dict[str, Any]:
    app = create_app(RegistrySettings.load())
    made: dict[str, Any] = app.openapi()
    assert made is app.openapi()
    return made


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if path.startswith("/api/"):
                yield f"{method.upper()} {path}", operation


def schema_name(content: dict[str, Any]) -> str:
    schema = content["application/json"]["schema"]
    for option in schema.get("anyOf", [schema]):
        if "$ref" in option:
            return str(option["$ref"]).rsplit("/", 1)[-1]
    return str(schema["items"]["$ref"]).rsplit("/", 1)[-1]


def test_every_body_and_answer_has_an_example_and_every_example_holds(document: dict[str, Any]) -> None:
    """
    Each request and each answer shows an example, which its own model takes.
    """
    schemas = document["components"]["schemas"]
    models: dict[str, type[BaseModel]] = {}
    waiting = [BaseModel]
    while waiting:
        for found in waiting.pop().__subclasses__():
            waiting.append(found)
            if found.__module__.startswith("fustor_registry.api"):
                models[found.__name__] = found
    names = set()
    for name, operation in operations(document):
        assert operation.get("summary") and operation.get("description"), name
        if "requestBody" in operation:
            names.add(schema_name(operation["requestBody"]["content"]))
        for status, answer in operation["responses"].items():
            if status.startswith("2") and status != "204":
                names.add(schema_name(answer["content"]))
            elif not status.startswith("2"):
                assert answer["content"]["application/json"]["example"]["code"], (name, status)
    assert len(names) > 15
    for name in names:
        assert schemas[name].get("examples"), f"{name} has no example"
        for example in schemas[name]["examples"]:
            TypeAdapter(models[name]).validate_python(example)


def test_errors_are_declared_as_they_are_answered(document: dict[str, Any]) -> None:
    """
    Every call may be refused as not valid (400, never 422) or for want of the database (503); one that needs a login tells 401.
    """
    public = {"POST /api/v1/login", "POST /api/v1/refresh", "POST /api/v1/keys/verify"}
    for name, operation in operations(document):
        declared = set(operation["responses"])
        assert {"400", "503"} <= declared and "422" not in declared, name
        if name not in public:
            assert "401" in declared and operation["security"], name
        if "{" in name:
            assert "404" in declared, name
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert set(document["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyCookie", "APIKeyHeader"}


def test_no_two_operations_share_an_id(document: dict[str, Any]) -> None:
    """
    Generated clients name their functions by it.
    """
    ids = [operation["operationId"] for _name, operation in operations(document)]
    assert len(ids) > 30
    assert len(ids) == len(set(ids))
