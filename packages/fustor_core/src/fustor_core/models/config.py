"""
Configuration of sources, pushers and syncs, in the names and defaults that existing drivers rely on.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from fustor_core.models.transforms import Transform

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
    credential: Credential | None = Field(
        default=None,
        description="Who comes: `{user, passwd}`, or `{key}` with a `user` where that is wanted. Secrets as `${NAME}` or `file:PATH`.",
    )
    max_retries: int = Field(
        default=10, ge=0, description="How often something that can pass is tried again; 0 = for ever."
    )
    retry_delay_sec: float = Field(default=5, gt=0, description="Longest wait between two tries, seconds.")
    disabled: bool = Field(default=True, description="Whether it is out of use: only `false` lets syncs use it.")
    driver_params: dict[str, Any] = Field(default_factory=dict, description="What this driver alone understands.")


class SourceConfig(_Endpoint):
    """
    Where data comes from.
    """

    uri: str = Field(min_length=1, description="Address of the source: a path, or a URL without a password.")
    max_queue_size: int = Field(default=1000, ge=1, description="Most events that wait in the bus.")


class PusherConfig(_Endpoint):
    """
    Where data goes.
    """

    endpoint: str = Field(min_length=1, description="Address of the consumer.")
    batch_size: int = Field(default=100, ge=1, description="Most rows in one push.")


class FieldMapping(BaseModel):
    """
    One field of the target and the source fields (`table.field`) it is made of.
    """

    model_config = ConfigDict(extra="forbid")

    to: str = Field(min_length=1, description="Name of the field at the consumer.")
    source: list[str] = Field(
        min_length=1, description="Where its value comes from: `table.field`, of one table or of several."
    )
    required: bool = Field(False, description="Whether a row without a value for it is refused.")
    combine: Literal["first", "join"] = Field(
        "first",
        description="Of several fields of one table: the first that is not null, or all that are not, joined as text.",
    )
    separator: str = Field(" ", description="For `join`: what stands between them.")


class SyncConfig(BaseModel):
    """
    One source joined to one pusher.
    """

    model_config = ConfigDict(extra="forbid")

    source: str = Field(description="Id of a source.")
    pusher: str = Field(description="Id of a pusher.")
    disabled: bool = Field(default=False, description="Whether it stays stopped.")
    transforms: list[Transform] = Field(
        default_factory=list, description="Steps that rows go through, in their order, under the names of the source."
    )
    fields_mapping: list[FieldMapping] = Field(
        default_factory=list,
        description="After them: the fields of the consumer. Of a table that it names only these and the key are sent.",
    )
