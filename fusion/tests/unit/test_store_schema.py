"""
The schema of a store: from empty, from older ones with what is in them, and twice.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

import fustor_fusion
from fustor_fusion.snapshots import SyncBook
from fustor_fusion.store.schema import HEAD, ensure_schema, migrate, revision_of


@pytest.fixture
def config(tmp_path: Path) -> Config:
    made = Config()
    made.set_main_option("script_location", str(Path(fustor_fusion.__file__).parent / "migrations"))
    made.attributes["path"] = tmp_path / "d.db"
    return made


def test_the_newest_revision_is_the_one_that_is_wanted(config: Config) -> None:
    """
    A migration that is added without `HEAD` being moved would never run.
    """
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


@pytest.mark.parametrize("begin", ["0001", "0002"])
def test_an_older_store_is_upgraded_with_what_is_in_it(config: Config, tmp_path: Path, begin: str) -> None:
    """
    Positions and snapshots stay; what nobody feeds begins to count at the upgrade; a second run changes nothing.
    """
    path = tmp_path / "d.db"
    command.upgrade(config, begin)
    with closing(sqlite3.connect(path)) as conn:
        conn.execute(
            "INSERT INTO sync(task_id, epoch, checkpoint, asked_checkpoint, runs, complete, wanted) VALUES ('t', 2, 77, 5, 1, 1, 0)"
        )
        conn.execute(
            "INSERT INTO snapshot(task_id, run, snapshot_id, state, epoch, start_index, marked, gap, rows, swept, started_at)"
            " VALUES ('t', 1, 's', 'ended', 2, 5, 1, 0, 9, 0, 1)"
        )
        conn.commit()
    ensure_schema(path)
    migrate(path)
    assert revision_of(path) == HEAD
    book = SyncBook()
    with closing(sqlite3.connect(path)) as conn:
        book.load(conn)
    (sync,) = book.all()
    assert (sync.epoch, sync.checkpoint, sync.complete, sync.unfed_s, sync.removed_at) == (2, 77, True, 0.0, None)
    assert sync.snapshots["s"].rows == 9
