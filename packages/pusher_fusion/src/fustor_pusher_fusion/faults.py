"""
What goes wrong between a pusher and Fusion, as the errors that tell the agent what to do about it.

| what came | error |
|---|---|
| 401 / 403 | AuthenticationFailed / PermissionMissing |
| 409 | SessionConflict |
| 419, or 404 for a session | SessionSuperseded |
| 413 | BatchRejected: the agent splits the push |
| 400, 422 to a push | BatchRejected with the reason |
| 429, 503 | ConsumerBusy, `wait_s` from Retry-After |
| other 5xx, no connection, no answer in time, an answer that can't be read | ConnectionLost |
| what a Fusion never answers (HTML, a redirect, 404 of another server) | ConfigError while a session is opened, else ConnectionLost |
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Literal

import aiohttp
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

Doing = Literal["open", "push", "session", "probe"]
"""
What the request was for: opening a session, pushing, something else within a session, or a look from outside.
"""

AWAY_HINT: Final = "check that Fusion runs and that nothing between blocks the way; nothing is lost meanwhile"
ENDPOINT_HINT: Final = "check `endpoint` of this pusher: it must be the root of a Fusion service, by default port 8102"


class FusionError(msgspec.Struct):
    """
    The shape of Fusion's errors. `code` is empty when the answer was something else; `detail` is what FastAPI itself says.
    """

    code: str = ""
    message: str = ""
    hint: str = ""
    context: dict[str, Any] = {}
    detail: Any = None


_error_decoder = msgspec.json.Decoder(FusionError)


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
    except aiohttp.InvalidURL as exc:
        raise ConfigError(f"endpoint {url!r} is not a URL: {exc}", hint=ENDPOINT_HINT, context=context) from None
    except aiohttp.ClientConnectorCertificateError as exc:
        raise ConnectionLost(
            f"the certificate of {url} is not trusted: {exc.certificate_error}",
            hint="give the authority's certificate as `driver_params: {ca_file: ...}`, or renew Fusion's certificate",
            context=context,
        ) from None
    except aiohttp.ConnectionTimeoutError:
        raise ConnectionLost(f"no connection to {url} in time", hint=AWAY_HINT, context=context) from None
    except TimeoutError:
        raise ConnectionLost(
            f"no answer from {url} within {timeout_s:g} s",
            hint="Fusion is overloaded or hangs: look at its log; `driver_params: {timeout_s: ...}` waits longer",
            context=context,
        ) from None
    except aiohttp.ClientConnectorError as exc:
        raise ConnectionLost(
            f"can't connect to {url}: {exc.os_error.strerror or exc.os_error}", hint=AWAY_HINT, context=context
        ) from None
    except (aiohttp.ClientError, OSError, asyncio.IncompleteReadError) as exc:
        raise ConnectionLost(
            f"the connection to {url} broke: {type(exc).__name__}: {_one_line(str(exc))}",
            hint=AWAY_HINT,
            context=context,
        ) from None


def error_for(status: int, headers: Mapping[str, str], body: bytes, *, url: str, doing: Doing) -> FustorError:
    """
    Return the error for an answer that is not a success.
    """
    told = _told(body)
    context: dict[str, Any] = {"endpoint": url, "status": status, "consumer_code": told.code, **told.context}
    said = told.message or (
        f"HTTP {status}" if told.detail is None else f"HTTP {status}: {_one_line(str(told.detail))}"
    )
    more: dict[str, Any] = {"context": context}
    if told.hint:
        more["hint"] = told.hint

    if status == 401:
        return AuthenticationFailed(f"Fusion at {url} does not accept the API key: {said}", **more)
    if status == 403:
        return PermissionMissing(
            f"the API key may not send to Fusion at {url}: {said}",
            **{"hint": "give the key the scope `ingest`, or make a new one with it", **more},
        )
    if status == 409:
        return SessionConflict(f"Fusion at {url}: {said}", **more)
    if status == 419 or (status == 404 and told.code and doing in ("push", "session")):
        return SessionSuperseded(f"the session is no longer valid at {url}: {said}", context=context)
    if status in (429, 503):
        return ConsumerBusy(
            f"Fusion at {url} can't take more now: {said}",
            wait_s=retry_after(headers),
            **{"hint": "the agent waits and sends it again; nothing is lost", **more},
        )
    if status == 413:
        return BatchRejected(
            f"the push is larger than {url} takes: {said}",
            **{"hint": "smaller batches are sent instead; lower `batch_size` of this pusher to avoid it", **more},
        )
    if status in (400, 422) and (told.code or (doing == "push" and _is_object(body))):
        return _refused(said, told, url=url, doing=doing, more=more)
    if status >= 500:
        return ConnectionLost(
            f"Fusion at {url} failed: {said}", wait_s=retry_after(headers), **{"hint": "look at Fusion's log", **more}
        )
    return not_fusion(url, _describe(status, headers, body), doing=doing)


def not_fusion(url: str, what: str, *, doing: Doing) -> FustorError:
    """
    Return the error for an answer that no Fusion gives.

    Once a session was open the endpoint is right, and something between is at fault: that may pass.
    """
    message = f"{url} does not answer like a Fusion service: {what}"
    if doing in ("open", "probe"):
        return ConfigError(message, hint=ENDPOINT_HINT, context={"endpoint": url})
    return ConnectionLost(
        message, hint=f"a proxy between may be at fault; else {ENDPOINT_HINT}", context={"endpoint": url}
    )


def _refused(said: str, told: FusionError, *, url: str, doing: Doing, more: dict[str, Any]) -> FustorError:
    if doing != "push":
        return ConfigError(f"Fusion at {url} refuses the request: {said}", **more)
    rejected: dict[int, str] = {}
    listed = told.context.get("rejected")
    if isinstance(listed, dict):
        rejected = {int(at): str(why) for at, why in listed.items() if str(at).isdecimal()}
    return BatchRejected(
        f"Fusion at {url} refuses the push: {said}",
        rejected=rejected,
        **{"hint": "mend the rows at the source, or what refuses them, then replay them from the dead letters", **more},
    )


def _told(body: bytes) -> FusionError:
    try:
        return _error_decoder.decode(body)
    except msgspec.DecodeError:
        return FusionError()


def _is_object(body: bytes) -> bool:
    return body.lstrip()[:1] == b"{"


def _describe(status: int, headers: Mapping[str, str], body: bytes) -> str:
    if 300 <= status < 400:
        return f"HTTP {status}, a redirect to {_one_line(headers.get('Location', '?'))!r}"
    kind = headers.get("Content-Type", "no content type").split(";")[0]
    return f"HTTP {status}, {kind}: {_one_line(body[:200].decode('utf-8', 'replace'))!r}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:160]
