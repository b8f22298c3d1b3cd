"""
What goes wrong between a pusher and somebody's service, as the errors that tell the agent what to do about it.

| what came | error |
|---|---|
| 401 / 403 | AuthenticationFailed / PermissionMissing |
| 409 to the opening of a session | SessionConflict |
| 419, or 404 / 410 to a heartbeat | SessionSuperseded |
| 400, 413, 422 to a push | BatchRejected; `rejected` of the answer names events |
| 408, 425, 429, 503 | ConsumerBusy, `wait_s` from Retry-After |
| other 5xx, no connection, no answer in time, an answer that can't be read | ConnectionLost |
| anything else | ConfigError while a session is opened, else ConnectionLost |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal

import httpx
import msgspec

from fustor_core.errors import (
    AuthenticationFailed,
    BatchRejected,
    ConfigError,
    ConnectionLost,
    ConsumerBusy,
    FustorError,
    PermissionMissing,
    SessionConflict,
    SessionSuperseded,
)
from fustor_core.retry_after import retry_after

Doing = Literal["discover", "open", "push", "session"]
"""
What the request was for: reading the OpenAPI document, opening a session, pushing, something else within a session.
"""

_BUSY: Final = (408, 425, 429, 503)
_REFUSED: Final = (400, 413, 422)
_SHOWN: Final = 200


@contextmanager
def network_faults(url: str, timeout_s: float) -> Iterator[None]:
    """
    Map what the HTTP client raises.

    Raises:
        ConnectionLost, ConfigError: As the table above says.
    """
    context = {"endpoint": url}
    try:
        yield
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as exc:
        raise ConfigError(
            f"{url!r} is not a URL: {exc}", hint="mend `endpoint` of this pusher", context=context
        ) from None
    except httpx.ConnectTimeout:
        raise ConnectionLost(
            f"no connection to {url} in time", hint="check that the service runs", context=context
        ) from None
    except httpx.TimeoutException:
        raise ConnectionLost(
            f"no answer from {url} within {timeout_s:g} s",
            hint="look at the service's log; `driver_params: {timeout_s: ...}` waits longer",
            context=context,
        ) from None
    except httpx.ConnectError as exc:
        raise ConnectionLost(
            f"can't connect to {url}: {exc}", hint="check that the service runs and can be reached", context=context
        ) from None
    except (httpx.HTTPError, AttributeError) as exc:
        # AttributeError: under uvloop, a connection that was reset while it was made has no socket to ask any more.
        raise ConnectionLost(
            f"the connection to {url} broke: {type(exc).__name__}: {exc}",
            hint="nothing is lost: what was not answered is sent again",
            context=context,
        ) from None


def error_for(status: int, headers: Mapping[str, str], body: bytes, *, url: str, doing: Doing) -> FustorError:
    """
    Return the error for an answer that is not a success.
    """
    said = f"HTTP {status}: {_text(body)}" if body else f"HTTP {status}"
    context: dict[str, Any] = {"endpoint": url, "status": status}
    if status == 401:
        return AuthenticationFailed(
            f"{url} does not accept the credential: {said}", hint="mend `credential` of this pusher", context=context
        )
    if status == 403:
        return PermissionMissing(
            f"the credential may not do this at {url}: {said}",
            hint="let the service grant it that right",
            context=context,
        )
    if status == 409 and doing == "open":
        return SessionConflict(f"{url} refuses the session: {said}", context=context)
    if status == 419 or (status in (404, 410) and doing == "session"):
        return SessionSuperseded(f"the session is no longer valid at {url}: {said}", context=context)
    if status in _BUSY:
        return ConsumerBusy(f"{url} can't take more now: {said}", wait_s=retry_after(headers), context=context)
    if status in _REFUSED and doing == "push":
        return BatchRejected(
            f"{url} refuses the push: {said}",
            rejected=_rejected(body),
            hint="mend the rows at the source, or what refuses them, then replay them from the dead letters",
            context=context,
        )
    if status >= 500:
        return ConnectionLost(
            f"{url} failed: {said}", wait_s=retry_after(headers), hint="look at the service's log", context=context
        )
    if doing in ("discover", "open"):
        return ConfigError(
            f"{url} does not answer as expected: {said}",
            hint="check `endpoint` of this pusher and the OpenAPI document",
            context=context,
        )
    return ConnectionLost(
        f"{url} does not answer as expected: {said}", hint="a proxy between may be at fault", context=context
    )


def _rejected(body: bytes) -> dict[int, str]:
    """
    Read which events were refused: `{"rejected": {"<number of the event>": "<reason>"}}`, at the top or in `context`.
    """
    try:
        told = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    for place in (told, told.get("context") if isinstance(told, dict) else None):
        listed = place.get("rejected") if isinstance(place, dict) else None
        if isinstance(listed, dict):
            return {int(at): str(why) for at, why in listed.items() if str(at).isdecimal()}
    return {}


def _text(body: bytes) -> str:
    return " ".join(body.decode("utf-8", "replace").split())[:_SHOWN]
