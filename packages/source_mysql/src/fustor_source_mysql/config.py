"""
What a source is told: the address of the server (the URI), who reads it (the credential), and its `driver_params`, validated.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fustor_core.errors import ConfigError
from fustor_core.models.config import PasswdCredential
from fustor_core.params import read_params

SYSTEM_SCHEMAS = frozenset({"mysql", "information_schema", "performance_schema", "sys"})
DEFAULT_PORT = 3306


class MysqlParams(BaseModel):
    """
    The `driver_params` of a MariaDB or MySQL source.
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
        "auto", description="on: refuse a connection without TLS; auto: use it when a certificate authority is given."
    )
    ca_file: str | None = Field(None, description="Certificates to trust; with it the server's certificate is checked.")
    server_id: int | None = Field(
        None, ge=1, le=2**32 - 1, description="The id of this reader among replicas; by default a random one each time."
    )
    connect_timeout_s: float = Field(10.0, gt=0, description="Longest wait for a connection, seconds.")
    read_timeout_s: float = Field(60.0, gt=0, description="Longest wait for the server's answer to a query, seconds.")
    rows_at_once: int = Field(
        20_000, ge=1, description="Rows read within one transaction of a snapshot; a chunk is a part of them."
    )
    state_dir: str | None = Field(None, description="Where the driver keeps what it knows of the server's logs.")


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
    if isinstance(credential, dict):
        try:
            return PasswdCredential.model_validate(credential)
        except ValidationError as exc:
            credential = str(exc.errors(include_input=False)[0]["msg"])
    if isinstance(credential, PasswdCredential):
        return credential
    raise ConfigError(
        "a mysql source has no user" + (f": {credential}" if isinstance(credential, str) else ""),
        hint="give `credential: {user: ..., passwd: ...}` of this source",
    )


class Wanted:
    """
    Tells which tables and columns are wanted.
    """

    def __init__(self, address: Address, params: MysqlParams) -> None:
        self._database = address.database
        self._include = _any_of(params.include)
        self._exclude = _any_of(params.exclude)
        self._without = _any_of(params.exclude_columns)
        self._known: dict[tuple[str, str], bool] = {}

    def table(self, schema: str, table: str) -> bool:
        """
        Tell whether a table is wanted.
        """
        known = self._known.get((schema, table))
        if known is None:
            known = self._known[schema, table] = self._is_wanted(schema, table)
        return known

    def schema(self, schema: str) -> bool:
        """
        Tell whether anything of a schema may be wanted.
        """
        return schema.lower() not in SYSTEM_SCHEMAS and self._database in (None, schema)

    def _is_wanted(self, schema: str, table: str) -> bool:
        if not self.schema(schema):
            return False
        name = f"{schema}.{table}"
        if self._include is not None and not self._include(name):
            return False
        return self._exclude is None or not self._exclude(name)

    def column(self, schema: str, table: str, column: str) -> bool:
        """
        Tell whether a column is wanted.
        """
        return self._without is None or not self._without(f"{schema}.{table}.{column}")


def _any_of(globs: list[str]) -> Callable[[str], object] | None:
    if not globs:
        return None
    return re.compile("|".join(f"(?:{fnmatch.translate(glob)})" for glob in globs)).match
