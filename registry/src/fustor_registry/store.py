"""
The Registry's database: SQLite beside the configuration by default, PostgreSQL where a URL says so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.orm import Session, sessionmaker

from fustor_core.errors import ConfigError

MIGRATIONS = Path(__file__).parent / "migrations"


def now(plus_s: float = 0) -> str:
    """
    Return the time now (or `plus_s` seconds later) in UTC, as fixed-width ISO text that sorts by time.
    """
    return (datetime.now(UTC) + timedelta(seconds=plus_s)).isoformat(timespec="microseconds")


class Store:
    """
    Opens the database, brings it to the newest schema, and hands out sessions.

    Threads: may be used from any; a write waits for the one before it.

    Raises:
        ConfigError: The URL can't be used, its driver is not installed, or the database can't be opened.
    """

    def __init__(self, url: str) -> None:
        try:
            self._url = make_url(url)
            if self._url.drivername == "postgresql":
                self._url = self._url.set(drivername="postgresql+psycopg")
            self.engine: Engine = create_engine(self._url, pool_pre_ping=not self.is_sqlite)
        except (ArgumentError, NoSuchModuleError) as exc:
            raise ConfigError(
                "the Registry's database URL can't be used",
                hint="set FUSTOR_REGISTRY_DATABASE_URL to something like postgresql://user:password@host/database",
            ) from exc
        except ImportError as exc:
            raise ConfigError(
                f"the client library of {self._url.drivername!r} is not installed: {exc}",
                hint="install it beside the Registry (for PostgreSQL: psycopg[binary]), then start again",
            ) from exc
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)
        self._writing = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        """
        Whether this is the embedded database.
        """
        return self._url.get_backend_name() == "sqlite"

    def migrate(self) -> None:
        """
        Create or upgrade the tables.
        """
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        try:
            with self.engine.begin() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except DBAPIError as exc:
            raise ConfigError(
                f"the Registry's database {self._url.render_as_string(hide_password=True)!r} can't be opened: {exc.orig}",
                hint="check that it is reachable and writable, and not of a newer version of Fustor",
            ) from exc

    @contextmanager
    def read(self) -> Iterator[Session]:
        """
        Lend a session for reading.
        """
        with self._sessions() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """
        Lend a session whose changes are committed together, or not at all when the block raises.
        """
        with self._writing, self._sessions.begin() as session:
            yield session

    def check(self) -> str | None:
        """
        Return None when the database answers, else why not.
        """
        try:
            with self.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except DBAPIError as exc:
            return f"the database does not answer: {exc.orig}"
        return None

    def close(self) -> None:
        """
        Close all connections. May be called twice.
        """
        self.engine.dispose()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    try:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()
