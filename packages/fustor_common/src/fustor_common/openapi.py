"""
What the OpenAPI documents of our services say of errors: each one in the shape that it is answered in, with an example.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI

from fustor_common.http import ErrorAnswer, code_of_status
from fustor_core.errors import BatchRejected, ConnectionLost, SessionSuperseded

_WHEN = {
    400: ("the request is not valid: body.name: Field required", "see the API's description at /docs"),
    401: (
        "this call wants a credential",
        "send `Authorization: Bearer <token>` (Registry, agent) or `X-API-Key: <key>` (Fusion)",
    ),
    403: ("only an admin may do this", "log in as a user who is an admin"),
    404: ("there is nothing with the id '1a2b3c4d'", "the list of all of them has their ids"),
    409: ("there is one named 'orders' already", "choose another name"),
    412: (
        "the configuration has changed since revision 12: it is at revision 13 now (changed syncs.orders: transforms)",
        "read it again, see what revision 13 changed, and decide anew",
    ),
    413: ("the body has more than 67,108,864 bytes", "send smaller batches"),
    415: ("a body of type 'text/plain' can't be read", "send application/json or application/msgpack"),
    419: ("the session 'e2f0b5a2' of sync 'orders' was superseded by a newer one", "open a new session"),
    422: (
        "1 of 3 events can't be stored",
        "park what `context.rejected` names, by the number of the event, and send the others again",
    ),
    429: ("too many failed logins", "wait 30 s, then try again"),
    502: ("no answer from db.example:5432", "look whether it runs, and can be reached from here"),
    503: ("the service can't take more now", "try again when `Retry-After` says"),
}

_OWN_CODES = {419: SessionSuperseded.code, 422: BatchRejected.code, 502: ConnectionLost.code}


def error_answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """
    Return what a route declares about the errors that it may answer.
    """
    answers: dict[int | str, dict[str, Any]] = {}
    for status in statuses:
        message, hint = _WHEN[status]
        code = _OWN_CODES.get(status) or code_of_status(status)
        answers[status] = {
            "model": ErrorAnswer,
            "description": "Session superseded" if status == 419 else HTTPStatus(status).phrase,
            "content": {
                "application/json": {"example": {"code": code, "message": message, "hint": hint, "context": {}}}
            },
        }
    return answers


def correct_document(app: FastAPI) -> None:
    """
    Correct what FastAPI puts into an app's document by itself: a 422, where our services answer 400, and that a query may say null, where
    leaving the parameter out is the only way.
    """
    build = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = build()
            for path in document.get("paths", {}).values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
                    for parameter in operation.get("parameters", ()):
                        parameter["schema"] = _without_null(parameter["schema"])
            for name in ("HTTPValidationError", "ValidationError"):
                document.get("components", {}).get("schemas", {}).pop(name, None)
        return app.openapi_schema or build()

    app.openapi = openapi  # type: ignore[method-assign]  # the way FastAPI's manual shows


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    choices = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) == len(schema.get("anyOf", ())):
        return schema
    rest = {name: value for name, value in schema.items() if name != "anyOf"}
    return {**choices[0], **rest} if len(choices) == 1 else {**rest, "anyOf": choices}
