"""
What can be set in `driver_params` of a fusion pusher, and what its endpoint and credential must look like.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fustor_core.errors import ConfigError
from fustor_core.models.config import ApiKeyCredential
from fustor_core.params import read_params

INGEST: Final = "/ingestor-api/v1"
RECOMMENDED_BATCH_SIZE: Final = 5000
KEY_HINT: Final = "make an API key in the Registry and give it as `credential: {key: ...}` of this pusher"


class FusionParams(BaseModel):
    """
    The `driver_params` of a fusion pusher.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    compression: Literal["auto", "zstd", "off"] = Field(
        "auto", description="auto: zstd, but not to this same machine, where it only costs time."
    )
    compression_level: int = Field(1, ge=-7, le=19, description="zstd level; higher is smaller and slower.")
    compress_over_bytes: int = Field(4096, ge=0, description="Bodies up to this size go as they are, bytes.")
    timeout_s: float = Field(60, gt=0, description="Longest wait for the answer to one request, seconds.")
    connect_timeout_s: float = Field(10, gt=0, description="Longest wait for a connection, seconds.")
    ca_file: str | None = Field(None, description="Certificates to trust beside the system's, for https.")
    verify_tls: bool = Field(True, description="Check the certificate of an https endpoint.")


def fusion_params(driver_params: dict[str, Any] | None, pusher_id: str = "") -> FusionParams:
    """
    Check `driver_params`.

    Raises:
        ConfigError: A name is unknown or a value out of range; says which.
    """
    return read_params(FusionParams, driver_params, f"fusion pusher {pusher_id!r}")


def base_url(endpoint: str) -> str:
    """
    Return the root URL of the Fusion service that `endpoint` names, without a slash at its end.

    Takes the root (`http://host:8102`), or a URL that goes on to the ingest API, as older configurations have it.

    Raises:
        ConfigError: It is not an http(s) URL, or carries a user and a password.
    """
    hint = "give the address of the Fusion service, such as `http://fusion.example:8102`"
    text = endpoint.strip()
    try:
        url = urlsplit(text)
        host, _port = url.hostname, url.port
    except ValueError as exc:
        raise ConfigError(f"endpoint {text!r} is not a URL: {exc}", hint=hint) from None
    if "@" in url.netloc:
        raise ConfigError("the endpoint of a fusion pusher must not carry a user or password", hint=KEY_HINT)
    if url.scheme not in ("http", "https") or not host:
        raise ConfigError(f"endpoint {text!r} is not an http or https URL", hint=hint)
    path = url.path
    at = path.find(INGEST)
    path = (path[:at] if at >= 0 else path).rstrip("/")
    return f"{url.scheme}://{url.netloc}{path}"


def is_loopback(url: str) -> bool:
    """
    Tell whether a URL leads to this same machine.
    """
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def api_key(credential: Any, pusher_id: str = "") -> str:
    """
    Return the API key in clear.

    Raises:
        ConfigError: There is none, or it can't be a key. Never shows it.
    """
    if isinstance(credential, dict):
        try:
            credential = ApiKeyCredential.model_validate(credential)
        except ValidationError:
            credential = None
    if not isinstance(credential, ApiKeyCredential):
        raise ConfigError(f"fusion pusher {pusher_id!r} has no API key", hint=KEY_HINT, context={"pusher": pusher_id})
    key = credential.key.get_secret_value().strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigError(
            f"the API key of fusion pusher {pusher_id!r} is empty or has characters that no key has",
            hint=KEY_HINT,
            context={"pusher": pusher_id},
        )
    return key
