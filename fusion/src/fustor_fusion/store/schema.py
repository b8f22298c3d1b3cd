"""
The schema of Fusion's own tables: Alembic migrations, run only for a file that is not up to date.

Views create their own tables (`View.create`). Alembic and SQLAlchemy cost tens of MB and are needed once per file, so the
migration runs in a process of its own: `python -m fustor_fusion.store.schema FILE`.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Final

from fustor_core.errors import ConfigError

HEAD: Final = "0004"
"""
The newest revision below `fustor_fusion/migrations/versions`; a test compares them.
"""


def revision_of(path: Path) -> str | None:
    """
    Return the revision that a database file is at; None when it has none (or is not there).
    """
    if not path.exists():
        return None
    with closing(sqlite3.connect(path)) as conn:
        if not conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            return None
        row = conn.execute("SELECT version_num FROM alembic_version").fetchone()
    return None if row is None else str(row[0])


def ensure_schema(path: Path) -> None:
    """
    Bring a database file to `HEAD`; at once when it is there already.

    Raises:
        ConfigError: The migration failed, or the file was written by a newer Fusion.
    """
    if revision_of(path) == HEAD:
        return
    done = subprocess.run(
        [sys.executable, "-m", "fustor_fusion.store.schema", str(path)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ConfigError(
            f"the database {str(path)!r} can't be brought to schema {HEAD!r}: {reason}",
            hint="check disk space and access rights; a file of a newer Fusion needs that Fusion",
            context={"path": str(path), "revision": revision_of(path)},
        )


def migrate(path: Path) -> None:
    """
    Run the migrations in this process.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent.parent / "migrations"))
    config.attributes["path"] = path
    command.upgrade(config, "head")


if __name__ == "__main__":
    migrate(Path(sys.argv[1]))
