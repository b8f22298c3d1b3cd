"""
Configuration of sources, pushers and syncs, in the names and defaults that existing drivers rely on.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

Secret = SecretStr
"""
Text that is never printed, logged or serialised by accident; `get_secret_value()` reveals it.
"""


class PasswdCredential(BaseModel):
    """
    A user name and a password.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str
    passwd: Secret | None = None


class ApiKeyCredential(BaseModel):
    """
    An API key, with the user it belongs to where the service wants that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    user: str | None = None
    key: Secret


Credential = Annotated[PasswdCredential | ApiKeyCredential, Field(union_mode="smart")]


class _Endpoint(BaseModel):
    model_config = ConfigDict(extra="forbid")

    driver: str = Field(min_length=1, description="Name of the driver, as its entry point gives it.")
    credential: Credential | None = None
    max_retries: int = Field(10, ge=0, description="How often something that can pass is tried again; 0 = for ever.")
    retry_delay_sec: float = Field(5, gt=0, description="Longest wait between two tries, seconds.")
    disabled: bool = True
    driver_params: dict[str, Any] = Field(default_factory=dict)


class SourceConfig(_Endpoint):
    """
    Where data comes from.
    """

    uri: str = Field(min_length=1, description="Address of the source: a path, or a URL without a password.")
    max_queue_size: int = Field(1000, ge=1, description="Most events that wait in the bus.")


class PusherConfig(_Endpoint):
    """
    Where data goes.
    """

    endpoint: str = Field(min_length=1, description="Address of the consumer.")
    batch_size: int = Field(100, ge=1, description="Most rows in one push.")


class FieldMapping(BaseModel):
    """
    One field of the target and the source fields (`table.field`) it is made of.
    """

    model_config = ConfigDict(extra="forbid")

    to: str
    source: list[str] = Field(min_length=1)
    required: bool = False


class SyncConfig(BaseModel):
    """
    One source joined to one pusher.
    """

    model_config = ConfigDict(extra="forbid")

    source: str
    pusher: str
    disabled: bool = False
    fields_mapping: list[FieldMapping] = Field(default_factory=list)
