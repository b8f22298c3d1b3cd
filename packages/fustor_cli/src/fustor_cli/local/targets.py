"""
What `fustor up` is given: a directory, or the address of a database. Understood, named, and asked whether it can be read.
"""

from __future__ import annotations

import asyncio
import getpass
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from fustor_cli.local import paths
from fustor_core.errors import ConfigError

FILES: Final = "fs"
DRIVER_OF_SCHEME: Final = {"mysql": "mysql", "mariadb": "mysql", "postgresql": "postgres", "postgres": "postgres"}
PASSWORD_VARIABLE: Final = {"mysql": "MYSQL_PWD", "postgres": "PGPASSWORD"}
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class Target:
    """
    One thing to keep in Fustor.

    Attributes:
        key: How it stands in memory and on screens: a path, or an address without its password.
        driver: Which source driver reads it.
        uri: Its address for the driver.
        user: Whom the database knows; None for a directory.
        password: None when none was given; never shown.
    """

    key: str
    driver: str
    uri: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def is_database(self) -> bool:
        """
        Whether it is a database rather than a directory.
        """
        return self.driver != FILES

    def sync_id(self, taken: Iterable[str]) -> str:
        """
        Return an id for its sync: readable, and not one of those taken.
        """
        if not self.is_database:
            return paths.sync_id(self.key, taken)
        parts = urlsplit(self.uri)
        return paths.sync_id(f"{self.driver}/{parts.path.strip('/') or parts.hostname or ''}", taken)


def is_address(given: str) -> bool:
    """
    Tell whether this is meant as the address of a database (or of something else that is no path).
    """
    return _ADDRESS.match(given) is not None


def target_of(given: str) -> Target:
    """
    Understand what was given.

    Raises:
        ConfigError: A directory can't be read, or an address lacks something; one clear line.
    """
    if is_address(given):
        return _database(given)
    path = paths.checked_path(given)
    return Target(paths.key_of(path), FILES, paths.uri_of(path))


def _database(given: str) -> Target:
    scheme = given.partition("://")[0].lower()
    driver = DRIVER_OF_SCHEME.get(scheme)
    if driver is None:
        raise ConfigError(
            f"nothing is known of addresses that begin with {scheme + '://'!r}",
            hint=f"give a directory, or an address that begins with one of {', '.join(s + '://' for s in DRIVER_OF_SCHEME)}",
        )
    example = f"{scheme}://user@host/database"
    try:
        parts = urlsplit(given)
        port = parts.port
    except ValueError as exc:
        raise ConfigError(f"the address of the database can't be read: {exc}", hint=f"write it as {example}") from None
    database = parts.path.strip("/")
    for what, value in (("user", parts.username), ("host", parts.hostname), ("database", database)):
        if not value:
            raise ConfigError(f"the address of the database names no {what}", hint=f"write it as {example}")
    host = parts.hostname or ""
    place = (f"[{host}]" if ":" in host else host) + ("" if port is None else f":{port}")
    bare = urlunsplit(SplitResult(scheme, place, f"/{database}", parts.query, ""))
    shown = urlunsplit(SplitResult(scheme, f"{parts.username}@{place}", f"/{database}", parts.query, ""))
    password = None if parts.password is None else unquote(parts.password)
    if password is None:
        password = os.environ.get(PASSWORD_VARIABLE[driver])
    return Target(shown, driver, bare, unquote(parts.username or ""), password)


def with_password(target: Target) -> Target:
    """
    Ask for the password of a database when none was given and there is somebody to ask.
    """
    if not target.is_database or target.password is not None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return target
    return replace(target, password=getpass.getpass(f"Password for {target.key} (empty for none): ", sys.stderr))


def check(target: Target) -> None:
    """
    Ask the driver whether the database can be reached, lets this account read, and is set up for it.

    Raises:
        ConfigError: It is not; says what to do, with the SQL where SQL mends it.
        DriverNotUsable: The driver is not installed.
    """
    if target.is_database:
        asyncio.run(_check(target))


async def _check(target: Target) -> None:
    from fustor_core.models.config import PasswdCredential, Secret
    from fustor_core.plugins import source_drivers

    driver = source_drivers().get(target.driver)
    credential = PasswdCredential(
        user=target.user or "", passwd=None if target.password is None else Secret(target.password)
    )
    for what, ask in (
        ("it can't be reached", driver.test_connection),
        ("the account lacks a right", driver.check_privileges),
        ("the server is not set up for it", driver.check_runtime_params),
    ):
        well, said = await ask(uri=target.uri, credential=credential)
        if not well:
            raise ConfigError(
                f"{target.key}: {what}: {said}",
                hint="mend that and run the same command again",
                context={"uri": target.uri, "driver": target.driver},
            )
