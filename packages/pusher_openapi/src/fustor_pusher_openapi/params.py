"""
What can be set in `driver_params` of an openapi pusher, and how it shows who it is.
"""

from __future__ import annotations

from typing import Any, Final, Literal
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fustor_core.errors import ConfigError
from fustor_core.models.config import ApiKeyCredential, PasswdCredential
from fustor_core.params import read_params

Auth = Literal["auto", "basic", "bearer", "api-key", "none"]

ENDPOINT_HINT: Final = "give the address of the service, or of its OpenAPI document"


class OpenApiParams(BaseModel):
    """
    The `driver_params` of an openapi pusher.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    openapi_url: str | None = Field(
        None,
        description="Where the OpenAPI document is. Default: `endpoint` when it ends in .json, else `endpoint`/openapi.json.",
    )
    batch_endpoint: str | None = Field(None, description="Path that takes pushes, whatever the document says.")
    session_endpoint: str | None = Field(None, description="Path that opens a session, whatever the document says.")
    heartbeat_endpoint: str | None = Field(None, description="Path that takes heartbeats, whatever the document says.")
    status_endpoint: str | None = Field(None, description="Path that tells the position, whatever the document says.")
    auth: Auth = Field(
        "auto",
        description="How the credential is shown. auto: as the document's security schemes say, else Basic for a password and a header for a key.",
    )
    api_key_header: str = Field("X-API-Key", description="Header for a key, unless the document names another.")
    headers: dict[str, str] = Field(default_factory=dict, description="More headers for every request.")
    rows: Literal["objects", "arrays"] = Field(
        "objects",
        description="objects: each row with its column names; arrays: aligned with `fields`, which is smaller.",
    )
    timeout_s: float = Field(60, gt=0, description="Longest wait for the answer to one request, seconds.")
    connect_timeout_s: float = Field(10, gt=0, description="Longest wait for a connection, seconds.")
    ca_file: str | None = Field(None, description="Certificates to trust instead of the system's, for https.")
    verify_tls: bool = Field(True, description="Check the certificate of an https endpoint.")


def openapi_params(driver_params: dict[str, Any] | None, pusher_id: str = "") -> OpenApiParams:
    """
    Check `driver_params`.

    Raises:
        ConfigError: A name is unknown or a value out of range; says which.
    """
    return read_params(OpenApiParams, driver_params, f"openapi pusher {pusher_id!r}")


def document_url(endpoint: str, params: OpenApiParams) -> str:
    """
    Return where the OpenAPI document is.

    Raises:
        ConfigError: The endpoint is no http(s) URL, or carries a user and a password.
    """
    text = endpoint.strip()
    for given in (text, params.openapi_url or text):
        try:
            url = urlsplit(given)
            host, _port = url.hostname, url.port
        except ValueError as exc:
            raise ConfigError(f"{given!r} is not a URL: {exc}", hint=ENDPOINT_HINT) from None
        if "@" in url.netloc:
            raise ConfigError(
                "the endpoint of an openapi pusher must not carry a user or password",
                hint="give them as `credential: {user: ..., passwd: ...}` of this pusher",
            )
        if url.scheme not in ("http", "https") or not host:
            raise ConfigError(f"{given!r} is not an http or https URL", hint=ENDPOINT_HINT)
    if params.openapi_url:
        return params.openapi_url
    return text if urlsplit(text).path.endswith(".json") else text.rstrip("/") + "/openapi.json"


class Shown(httpx.Auth):
    """
    Shows the credential with each request; which way is set once the document was read.
    """

    def __init__(self, credential: Any, params: OpenApiParams) -> None:
        self._credential = _read(credential)
        self._params = params
        self._way: Auth = params.auth
        self._header = params.api_key_header

    def learn(self, document: dict[str, Any]) -> None:
        """
        Take from the document how it wants the credential, unless that was set.
        """
        if self._params.auth != "auto":
            return
        components = document.get("components")
        schemes = components.get("securitySchemes") if isinstance(components, dict) else None
        for scheme in (schemes or {}).values() if isinstance(schemes, dict) else ():
            if not isinstance(scheme, dict):
                continue
            kind, how = str(scheme.get("type", "")).lower(), str(scheme.get("scheme", "")).lower()
            if isinstance(self._credential, ApiKeyCredential):
                if kind == "apikey" and scheme.get("in") == "header" and scheme.get("name"):
                    self._way, self._header = "api-key", str(scheme["name"])
                    return
                if kind == "http" and how == "bearer":
                    self._way = "bearer"
                    return
            elif kind == "http" and how == "basic":
                self._way = "basic"
                return

    def auth_flow(self, request: httpx.Request) -> Any:
        """
        Put the credential into the request's headers.
        """
        credential, way = self._credential, self._way
        if isinstance(credential, PasswdCredential) and way in ("auto", "basic"):
            secret = "" if credential.passwd is None else credential.passwd.get_secret_value()
            yield from httpx.BasicAuth(credential.user, secret).auth_flow(request)
            return
        if isinstance(credential, ApiKeyCredential):
            key = credential.key.get_secret_value().strip()
            if way == "bearer":
                request.headers["Authorization"] = f"Bearer {key}"
            elif way == "basic":
                yield from httpx.BasicAuth(credential.user or "", key).auth_flow(request)
                return
            elif way != "none":
                request.headers[self._header] = key
        yield request


def _read(credential: Any) -> PasswdCredential | ApiKeyCredential | None:
    if not isinstance(credential, dict):
        return credential if isinstance(credential, PasswdCredential | ApiKeyCredential) else None
    model = ApiKeyCredential if "key" in credential else PasswdCredential
    try:
        return model.model_validate(credential)
    except ValidationError as exc:
        raise ConfigError(
            f"the credential can't be used: {'; '.join(e['msg'] for e in exc.errors(include_input=False))}",
            hint="give {key: ...}, or {user: ..., passwd: ...}",
        ) from None
