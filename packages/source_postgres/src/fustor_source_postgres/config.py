"""
What a source is told: the address of the database (the URI), who reads it (the credential), and its `driver_params`, validated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from pydantic import Field

from fustor_core.errors import ConfigError
from fustor_core.models.config import PasswdCredential
from fustor_core.params import DatabaseParams, read_credential, read_params
from fustor_core.selection import Selection

SYSTEM_SCHEMAS: Final = frozenset({"pg_catalog", "information_schema", "pg_toast"})
DEFAULT_PORT: Final = 5432
_LONGEST_NAME: Final = 58  # the server's 63, less room for the number of a copy


class PostgresParams(DatabaseParams):
    """
    The `driver_params` of a PostgreSQL source. `tls: auto` uses TLS when the server offers it.
    """

    slot: str | None = Field(
        None,
        pattern=r"^[a-z0-9_]{1,58}$",
        title="Replication slot",
        description="Name of the replication slot; made when it is not there. By default `fustor_` and the source's id.",
    )
    publication: str | None = Field(
        None,
        description="A publication to use as it is. By default `fustor` when there is one, else one of the driver's own, "
        "which it makes and keeps in line with the wanted tables.",
    )


@dataclass(frozen=True, slots=True)
class Address:
    """
    Where the database is.
    """

    host: str
    port: int
    database: str

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"


def parse_params(params: dict[str, Any] | None) -> PostgresParams:
    """
    Check `driver_params`.

    Raises:
        ConfigError: A name is unknown or a value out of range; says which.
    """
    return read_params(PostgresParams, params, "postgres source")


def parse_address(uri: str) -> Address:
    """
    Read `postgresql://host:port/database`; the port may be left out.

    Raises:
        ConfigError: It is no such address.
    """
    hint = "write it as postgresql://host:5432/database, without user and password"
    try:
        parts = urlsplit(uri)
        port = parts.port or DEFAULT_PORT
    except ValueError as exc:
        raise ConfigError(f"the address of a postgres source can't be read: {exc}", hint=hint) from None
    database = unquote(parts.path.strip("/"))
    if parts.scheme not in ("postgresql", "postgres") or not parts.hostname or not database:
        raise ConfigError(f"{uri!r} is not the address of a PostgreSQL database", hint=hint)
    if parts.username or parts.password:
        raise ConfigError(
            "the address of a postgres source must not carry a user or password",
            hint="give them as `credential: {user: ..., passwd: ...}` of this source",
        )
    return Address(parts.hostname, port, database)


def parse_credential(credential: Any) -> PasswdCredential:
    """
    Return who reads.

    Raises:
        ConfigError: There is no user.
    """
    return read_credential(credential, "postgres source")


def wanted_of(params: PostgresParams) -> Selection:
    """
    Return which tables and columns are wanted.
    """
    return Selection(params.include, params.exclude, params.exclude_columns, system=SYSTEM_SCHEMAS)


def own_name(source_id: str) -> str:
    """
    Return the name of what the driver makes at the server for a source: letters, digits and underscores.
    """
    plain = re.sub(r"[^a-z0-9]+", "_", source_id.lower()).strip("_")
    return f"fustor_{plain or 'source'}"[:_LONGEST_NAME]
