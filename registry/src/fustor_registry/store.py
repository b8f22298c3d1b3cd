"""
The Registry's database: SQLite beside the configuration by default, PostgreSQL where a URL says so.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from fustor_core.errors import ConfigError, OverloadedError, StorageFull

MIGRATIONS = Path(__file__).parent / "migrations"
MIGRATION_LOCK: Final = 0x46757374  # any number that nobody else takes for an advisory lock
WAIT_S: Final = 10


def now(plus_s: float = 0) -> str:
    """
    Return the time now (or `plus_s` seconds later) in UTC, as fixed-width ISO text that sorts by time.
    """
    return as_text(datetime.now(UTC) + timedelta(seconds=plus_s))


def as_text(time: datetime) -> str:
    """
    Return a time (with its zone) in the form in which all times are kept.
    """
    return time.astimezone(UTC).isoformat(timespec="microseconds")


class Store:
    """
    Opens the database, brings it to the newest schema, and hands out sessions.

    Threads and processes: may be used from any. Writing transactions of SQLite wait for the one before them from their very
    beginning, so what they read stays true until they commit; on PostgreSQL rows that are read to be changed are locked.

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
                hint="install it beside the Registry (for PostgreSQL: fustor-registry[postgres]), then start again",
            ) from exc
        if self.is_sqlite:
            event.listen(self.engine, "connect", _prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)
        self._writer = self.engine.execution_options(fustor_write=True)
        self._reads = sessionmaker(self.engine, expire_on_commit=False)
        self._writes = sessionmaker(self._writer, expire_on_commit=False)
        self._writing = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        """
        Whether this is the embedded database.
        """
        return self._url.get_backend_name() == "sqlite"

    def migrate(self, revision: str = "head") -> None:
        """
        Create or upgrade the tables, all or nothing. Processes that start at once take turns; a second run changes nothing.

        Args:
            revision: The schema to come to.
        """
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        where = self._url.render_as_string(hide_password=True)
        try:
            with self._writer.begin() as connection:
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": MIGRATION_LOCK})
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
        except DBAPIError as exc:
            raise ConfigError(
                f"the Registry's database {where!r} can't be opened: {exc.orig}",
                hint="check that it is reachable and writable, and that the file is a whole database",
            ) from exc
        except CommandError as exc:
            raise ConfigError(
                f"the Registry's database {where!r} is not of a schema that this version knows: {exc}",
                hint="start the version of Fustor that wrote it, or a newer one",
            ) from exc

    @contextmanager
    def read(self) -> Iterator[Session]:
        """
        Lend a session for reading.

        Raises:
            OverloadedError: The database does not answer.
        """
        with _database_errors(), self._reads() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """
        Lend a session whose changes are committed together, or not at all when the block raises.

        Raises:
            OverloadedError: The database does not answer, or its disk is full.
        """
        with ExitStack() as stack:
            stack.enter_context(_database_errors())
            if self.is_sqlite:
                stack.enter_context(self._writing)  # in turn, instead of asking the file again and again
            yield stack.enter_context(self._writes.begin())

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


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except OperationalError as exc:
        if "full" in str(exc.orig):
            raise StorageFull(f"the Registry's database can't be written: {exc.orig}") from exc
        raise OverloadedError(
            f"the Registry's database does not answer: {exc.orig}",
            hint="nothing is known to be changed; look, then try again in a moment",
            wait_s=2,
        ) from exc


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins no transaction itself: `_begin_sqlite` does
    cursor = connection.cursor()
    try:
        for pragma in (f"busy_timeout={WAIT_S * 1000}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
    finally:
        cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    is_write = connection.get_execution_options().get("fustor_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")
