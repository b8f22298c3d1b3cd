"""
What a source is told: the address of the server (the URI), who reads it (the credential), and its `driver_params`, validated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import Field

from fustor_core.errors import ConfigError
from fustor_core.models.config import PasswdCredential
from fustor_core.params import DatabaseParams, read_credential, read_params
from fustor_core.selection import Selection

SYSTEM_SCHEMAS = frozenset({"mysql", "information_schema", "performance_schema", "sys"})
DEFAULT_PORT = 3306


class MysqlParams(DatabaseParams):
    """
    The `driver_params` of a MariaDB or MySQL source. `tls: auto` uses TLS when the server offers it, and checks its certificate
    when `ca_file` is given.
    """

    server_id: int | None = Field(
        None,
        ge=1,
        le=2**32 - 1,
        title="Id among the replicas",
        description="The id of this reader among replicas; by default a random one each time.",
    )


@dataclass(frozen=True, slots=True)
class Address:
    """
    Where the server is, and which database when only one is meant.
    """

    host: str
    port: int
    database: str | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_params(params: dict[str, Any] | None) -> MysqlParams:
    """
    Check `driver_params`.

    Raises:
        ConfigError: A name is unknown or a value out of range; says which.
    """
    return read_params(MysqlParams, params, "mysql source")


def parse_address(uri: str) -> Address:
    """
    Read `mysql://host:port/database`; port and database may be left out.

    Raises:
        ConfigError: It is no such address.
    """
    hint = "write it as mysql://host:3306/database, without user and password"
    try:
        parts = urlsplit(uri)
        port = parts.port or DEFAULT_PORT
    except ValueError as exc:
        raise ConfigError(f"the address of a mysql source can't be read: {exc}", hint=hint) from None
    if parts.scheme not in ("mysql", "mariadb") or not parts.hostname:
        raise ConfigError(f"{uri!r} is not the address of a MariaDB or MySQL server", hint=hint)
    if parts.username or parts.password:
        raise ConfigError(
            "the address of a mysql source must not carry a user or password",
            hint="give them as `credential: {user: ..., passwd: ...}` of this source",
        )
    return Address(parts.hostname, port, unquote(parts.path.strip("/")) or None)


def parse_credential(credential: Any) -> PasswdCredential:
    """
    Return who reads.

    Raises:
        ConfigError: There is no user.
    """
    return read_credential(credential, "mysql source")


def wanted_of(address: Address, params: MysqlParams) -> Selection:
    """
    Return which tables and columns are wanted.
    """
    return Selection(
        params.include,
        params.exclude,
        params.exclude_columns,
        only_schema=address.database,
        system=SYSTEM_SCHEMAS,
    )
