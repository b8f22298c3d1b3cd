"""
Query strings as msgspec structs: read in a few microseconds (FastAPI's own parameters cost 20 each), described in OpenAPI all the same.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from fastapi import Request

from fustor_core.errors import InvalidRequest

T = TypeVar("T", bound=msgspec.Struct)


class Params(msgspec.Struct, forbid_unknown_fields=True):
    """
    Base of the structs that say which parameters a route has. A misspelt one is refused: leaving it out would answer another question.
    """


def read_query(request: Request, kind: type[T]) -> T:
    """
    Return the parameters of a request; of one that is given twice the last counts.

    Raises:
        InvalidRequest: One is missing, unknown, of the wrong type or out of bounds.
    """
    given = dict(request.query_params)
    try:
        asked = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as exc:
        what, _, where = str(exc).partition(" - at `$.")
        raise _invalid(kind, where.rstrip("`"), what) from None
    for field in msgspec.structs.fields(kind):
        # msgspec takes the text "null" for None.
        if field.encode_name in given and getattr(asked, field.name) is None:
            raise _invalid(kind, field.encode_name, "'null' is no value; leave the parameter out")
    return asked


def _invalid(kind: type[msgspec.Struct], name: str, what: str) -> InvalidRequest:
    known = [field.encode_name for field in msgspec.structs.fields(kind)]
    return InvalidRequest(
        f"the request is not valid: {f'query.{name}: ' if name else ''}{what}",
        hint=f"the parameters are {', '.join(known)}; see /docs",
        context={"problems": [{"where": f"query.{name}" if name else "query", "what": what}]},
    )


def describe_query(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """
    Return the `openapi_extra` of a route that reads its query with `read_query`.
    """
    _, components = msgspec.json.schema_components([kind])
    described = components[kind.__name__]
    required = described.get("required", [])
    parameters = []
    for name, shape in described["properties"].items():
        text = shape.pop("description", None)
        parameter = {"name": name, "in": "query", "required": name in required, "schema": {**shape, "title": name}}
        parameters.append(parameter | ({"description": text} if text else {}))
    return {"parameters": parameters}
