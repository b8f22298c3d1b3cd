"""
Reading `driver_params` and credentials: one way for every driver to check them and to say what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fustor_core.errors import ConfigError
from fustor_core.models.config import PasswdCredential

Params = TypeVar("Params", bound=BaseModel)


class DatabaseParams(BaseModel):
    """
    The `driver_params` that every source driver of a database knows; a driver adds its own.
    """

    model_config = ConfigDict(extra="forbid")

    include: list[str] = Field(
        default_factory=list, description="Globs `schema.table`: only these tables. Empty = all but the server's own."
    )
    exclude: list[str] = Field(default_factory=list, description="Globs `schema.table`: not these tables.")
    exclude_columns: list[str] = Field(
        default_factory=list, description="Globs `schema.table.column`: columns that never leave the source."
    )
    tls: Literal["auto", "on", "off"] = Field(
        "auto",
        title="Encryption (TLS)",
        description="on: refuse a connection without TLS; off: never; auto: the driver's documentation says.",
    )
    ca_file: str | None = Field(
        None,
        title="File of certificates to trust",
        description="Certificates to trust; with it the server's certificate is checked.",
    )
    connect_timeout_s: float = Field(
        10.0, gt=0, title="Longest wait for a connection (s)", description="Longest wait for a connection, seconds."
    )
    read_timeout_s: float = Field(
        60.0,
        gt=0,
        title="Longest wait for an answer (s)",
        description="Longest wait for the server's answer to a query, seconds.",
    )
    rows_at_once: int = Field(
        20_000,
        ge=1,
        title="Rows at once",
        description="Rows read within one transaction of a snapshot; a chunk is a part of them.",
    )
    tables_at_once: int = Field(
        2,
        ge=1,
        le=32,
        title="Tables at once",
        description="Tables that a snapshot reads at the same time, each over a connection of its own.",
    )
    state_dir: str | None = Field(None, description="Where the driver keeps what it knows of the server.")


def read_params(model: type[Params], given: Mapping[str, Any] | None, whose: str) -> Params:
    """
    Check `driver_params` against a driver's model.

    Args:
        model: What the driver knows; with `extra="forbid"` unknown names are told.
        given: As configured.
        whose: For the message: "fusion pusher 'p1'".

    Raises:
        ConfigError: A name is unknown or a value out of range; says each, and which names there are. Values are never shown.
    """
    params = dict(given or {})
    if "state_dir" not in model.model_fields:
        params.pop("state_dir", None)  # the agent gives it to every source; `SourceDriver.state_dir` reads it
    try:
        return model.model_validate(params)
    except ValidationError as exc:
        errors = [(".".join(map(str, one["loc"])), one["msg"]) for one in exc.errors(include_input=False)]
        raise ConfigError(
            f"{whose}: " + "; ".join(f"`driver_params.{where}`: {what}" for where, what in errors),
            hint=f"known parameters: {', '.join(model.model_fields)}",
            context={"field": errors[0][0]},
        ) from None


def read_credential(credential: Any, whose: str) -> PasswdCredential:
    """
    Return who reads, as configured or as the wizard sends it.

    Args:
        credential: A `PasswdCredential`, or its fields.
        whose: For the message: "mysql source".

    Raises:
        ConfigError: There is no user.
    """
    if isinstance(credential, Mapping):
        try:
            return PasswdCredential.model_validate(dict(credential))
        except ValidationError as exc:
            credential = str(exc.errors(include_input=False)[0]["msg"])
    if isinstance(credential, PasswdCredential):
        return credential
    raise ConfigError(
        f"a {whose} has no user" + (f": {credential}" if isinstance(credential, str) else ""),
        hint="give `credential: {user: ..., passwd: ...}` of this source",
    )


def credential_schema(title: str) -> dict[str, Any]:
    """
    Return the JSON Schema of a user and a password for a step of the wizard.
    """
    return {
        "type": "object",
        "title": title,
        "required": ["user"],
        "properties": {
            "user": {"type": "string", "title": "User"},
            "passwd": {"type": "string", "format": "password", "title": "Password"},
        },
    }


def database_steps(
    default_uri: str, params: type[DatabaseParams], *, about: str, needs_database: bool
) -> dict[str, Any]:
    """
    Return the wizard's steps of a source driver of a database: which server, which tables.

    Args:
        default_uri: What an address looks like, with the port that is usual.
        params: The driver's parameters.
        about: What it does, in a sentence for people.
        needs_database: Whether the address has to name a database.
    """
    parts = urlsplit(default_uri)
    return {
        "about": about,
        "icon": "storage",
        "steps": [
            {
                "step_id": "connection",
                "title": "Which server?",
                "schema": {
                    "type": "object",
                    "required": ["uri", "credential"],
                    "properties": {
                        "uri": {
                            "type": "string",
                            "title": "Address",
                            "default": default_uri,
                            "x-address": {
                                "scheme": parts.scheme,
                                "port": parts.port,
                                "database": "needed" if needs_database else "optional",
                            },
                        },
                        "admin_creds": credential_schema("Administrator, to make the agent's user; not kept"),
                        "credential": credential_schema("The agent's user"),
                    },
                },
                "validations": ["test_connection", "check_privileges", "check_runtime_params"],
            },
            {
                "step_id": "tables",
                "title": "Which tables?",
                "schema": {"type": "object", "properties": {"driver_params": params.model_json_schema()}},
                "validations": ["get_available_fields"],
            },
        ],
    }
