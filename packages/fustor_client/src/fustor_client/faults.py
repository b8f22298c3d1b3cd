"""
From an HTTP answer that is an error, back to the class of `fustor_core.errors` it was in the service.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from fustor_core import errors
from fustor_core.errors import FustorError

_BY_STATUS: dict[int, type[FustorError]] = {
    400: errors.InvalidRequest,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFoundError,
    409: errors.StateConflictError,
    412: errors.PreconditionFailed,
    413: errors.RequestTooLarge,
    419: errors.SessionSuperseded,
    422: errors.InvalidRequest,
    429: errors.OverloadedError,
    503: errors.OverloadedError,
}


def _tree(root: type[FustorError]) -> Iterator[type[FustorError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def error_from(status: int, headers: Mapping[str, str], body: bytes, url: str) -> FustorError:
    """
    Build the error that an answer tells of.

    The class is that of `code`, else the nearest to the HTTP status. `context` gains `status` and `url`.
    """
    try:
        said: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = {}
    if not isinstance(said, dict):
        said = {}
    code = said.get("code")
    cls = next((c for c in _tree(FustorError) if c.code == code), None) or _BY_STATUS.get(status, FustorError)
    message = said.get("message") or _plain(said.get("detail")) or f"{url} answered with HTTP status {status}"
    context = said.get("context")
    context = {**(context if isinstance(context, dict) else {}), "status": status, "url": url}
    if code is not None and code != cls.code:
        context["code"] = code
    hint = said.get("hint")
    error = cls(str(message), hint=None if hint is None else str(hint), context=context)
    wait = _seconds(headers.get("retry-after"))
    if wait is not None and isinstance(error, errors.OverloadedError | errors.ConsumerBusy | errors.ConnectionLost):
        error.wait_s = wait
    return error


def unreachable(url: str, reason: object) -> errors.ConnectionLost:
    """
    Build the error for a service that can't be reached, or stopped answering.
    """
    return errors.ConnectionLost(
        f"{url} does not answer: {reason}",
        hint="check that the service runs and that the address is right",
        context={"url": url},
    )


def garbled(url: str, reason: object) -> FustorError:
    """
    Build the error for an answer that is not what this client expects.
    """
    return FustorError(
        f"the answer of {url} can't be read: {reason}",
        hint="check that a Fustor service of the same version listens at this address",
        context={"url": url},
    )


def _plain(detail: Any) -> str | None:
    if isinstance(detail, str) or detail is None:
        return detail
    return msgspec.json.encode(detail).decode()


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None  # a date: our services send seconds
