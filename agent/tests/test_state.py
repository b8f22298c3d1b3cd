"""
What the agent must not forget: memory of syncs, dead letters, revisions; over kill -9, and against a second agent.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from fustor_agent.database import AgentDatabase
from fustor_agent.deadletters import DeadLetters, DeadLettersFull, LetterFilter
from fustor_agent.revisions import KEEP, Revisions
from fustor_agent.state import StateStore
from fustor_agent.sync.ports import Refusal, SnapshotProgress, SyncMemory
from fustor_core.errors import ConfigError, NotFoundError, StateConflictError, StorageFull
from fustor_core.models.envelope import to_wire
from fustor_core.models.event import DeleteEvent, InsertEvent

FIRST_SCHEMA = """
CREATE TABLE dead_letters (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    sync_id      TEXT NOT NULL,
    ts           REAL NOT NULL,
    epoch        INTEGER NOT NULL,
    code         TEXT NOT NULL,
    reason       TEXT NOT NULL,
    event_type   TEXT NOT NULL,
    event_schema TEXT NOT NULL,
    table_name   TEXT NOT NULL,
    row_count    INTEGER NOT NULL,
    faithful     INTEGER NOT NULL,
    event        BLOB NOT NULL
);
PRAGMA user_version=1;
"""
WRITER = """
import sys
from pathlib import Path
from fustor_agent.database import AgentDatabase
from fustor_agent.deadletters import DeadLetters, DeadLettersFull
from fustor_agent.state import StateStore
from fustor_agent.sync.ports import Refusal, SyncMemory
from fustor_core.models.event import InsertEvent
db = AgentDatabase(Path(sys.argv[1]))
store, letters = StateStore(db), DeadLetters(db, max_rows=10**9)
for n in range(10**9):
    letters.park("s", [InsertEvent("db", "t", [{"id": n}], index=n)], epoch=0, why=Refusal("c", "r"))
    store.save("s", SyncMemory(epoch=1, checkpoint=n))
    print(n, flush=True)
"""


@pytest.fixture
def db(tmp_path: Path) -> Iterator[AgentDatabase]:
    database = AgentDatabase(tmp_path)
    yield database
    database.close()
    database.close()


def test_memory_comes_back_as_it_was(db: AgentDatabase, tmp_path: Path) -> None:
    store = StateStore(db)
    assert store.load("s") == SyncMemory()
    snapshot = SnapshotProgress("snap", 5, resume_token="t", tables=["a"], where="x > 1", rows=7, paused=True)
    memory = SyncMemory(epoch=2, incarnation="uuid", checkpoint=2**63, start_index=3, gap=True, snapshot=snapshot)
    store.save("s", memory)
    store.save("other", SyncMemory(epoch=9))
    agent_id = db.agent_id
    db.close()
    again = AgentDatabase(tmp_path)
    assert StateStore(again).load("s") == memory and StateStore(again).known() == ["other", "s"]
    assert again.agent_id == agent_id
    again.close()


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    """
    The writer reports a number only after its writes returned; after SIGKILL at least that one is there, and nothing is torn.
    """
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            said = "".join(writer.stdout.readline() for _ in range(20))
            os.kill(writer.pid, signal.SIGKILL)
            said += writer.stdout.read()
        told = int(said[: said.rindex("\n")].split("\n")[-1])
        db = AgentDatabase(tmp_path)
        kept = StateStore(db).load("s").checkpoint
        assert kept in (told, told + 1), "killed between the write and its line at most"
        letters = DeadLetters(db, max_rows=10**9)
        newest = letters.page(after=letters.page(limit=100_000)[-1].id - 1)[0]
        assert letters.event(newest.id)[1].index in (kept, kept + 1)
        db.close()


def test_two_agents_cannot_share_a_config_root(db: AgentDatabase, tmp_path: Path) -> None:
    with pytest.raises(StateConflictError, match=str(os.getpid())) as caught:
        AgentDatabase(tmp_path)
    assert "FUSTOR_CONFIG_DIR" in caught.value.hint
    db.close()
    AgentDatabase(tmp_path).close()


def test_a_damaged_database_or_folder_is_said_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "agent.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(ConfigError, match=r"agent\.db"):
        AgentDatabase(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="state folder"):
        AgentDatabase(tmp_path / "file")


def test_a_database_of_a_newer_agent_is_left_alone(db: AgentDatabase, tmp_path: Path) -> None:
    with db.transaction() as connection:
        connection.execute("INSERT INTO syncs VALUES ('s', '{\"epoch\": \"new format\"}')")
    with pytest.raises(ConfigError, match="sync 's'"):
        StateStore(db).load("s")
    db._db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(ConfigError, match="newer agent"):
        AgentDatabase(tmp_path)


def test_the_files_are_for_their_owner_only(db: AgentDatabase) -> None:
    assert db.path.stat().st_mode & 0o077 == 0 and db.folder.stat().st_mode & 0o077 == 0


def test_letters_of_the_first_schema_are_kept(tmp_path: Path) -> None:
    """
    They had no advice of their own.
    """
    (tmp_path / "state").mkdir()
    old = sqlite3.connect(tmp_path / "state" / "agent.db")
    old.executescript(FIRST_SCHEMA)
    event = msgspec.msgpack.encode(to_wire([InsertEvent("db", "t", [{"id": 1}], index=7, key=["id"])])[0])
    values = ("s", 1.5, 4, "batch.rejected", "too long (cut it)", "insert", "db", "t", 1, 1, event)
    old.execute(f"INSERT INTO dead_letters VALUES (1, {', '.join('?' * len(values))})", values)
    old.commit()
    old.close()
    for _ in range(2):
        db = AgentDatabase(tmp_path)
        letters = DeadLetters(db, max_rows=100)
        (letter,) = letters.page()
        assert (letter.reason, letter.hint, letter.event_type, letter.replayable) == (
            "too long (cut it)",
            "",
            "insert",
            True,
        )
        assert letters.event(1)[1].rows == [[1]]
        letters.park("s", [InsertEvent("db", "t", [{"id": 2}])], epoch=0, why=Refusal("c", "r", "h"))
        letters.delete(letters.page()[-1].id)
        db.close()


def test_letters_keep_event_reason_and_count(db: AgentDatabase) -> None:
    letters = DeadLetters(db, max_rows=100)
    insert = InsertEvent("db", "t", [{"id": 1, "d": Decimal("1.10")}, {"id": 2}], index=7, key=["id"], ts=1.5)
    letters.park(
        "s",
        [insert, DeleteEvent("db", "u", [{"id": 3}], index=8)],
        epoch=4,
        why=Refusal("batch.rejected", "too long", "cut it"),
    )
    assert letters.count("s") == 3 and letters.count("other") == 0 and letters.counts() == {"s": 3}
    first, second, third = letters.page(LetterFilter("s"))
    assert (first.hint, second.hint) == ("cut it", "cut it")
    assert (first.rows, first.reason, first.code, first.epoch, first.table) == (1, "too long", "batch.rejected", 4, "t")
    letter, event = letters.event(first.id)
    assert letter == first and event.rows == [[1, "1.10"]] and event.key == ("id",) and event.index == 7
    assert (
        letters.page(LetterFilter("s"), after=first.id, limit=1) == [second]
        and letters.page(LetterFilter("nobody")) == []
    )
    letters.delete(third.id)
    assert letters.count("s") == 2
    with pytest.raises(NotFoundError):
        letters.delete(third.id)
    assert DeadLetters(db, max_rows=100).count("s") == 2


def test_what_cannot_travel_is_kept_to_be_read(db: AgentDatabase) -> None:
    letters = DeadLetters(db, max_rows=100)
    bad = InsertEvent("db", "t", [{"id": 1, "o": object(), "s": "lone \udcff"}])
    letters.park("s", [bad], epoch=0, why=Refusal("c", "r"))
    (letter,) = letters.page()
    shown = letters.get(letter.id)[1].rows[0]
    assert shown[0] == 1 and "object object" in shown[1] and "lone" in shown[2]
    with pytest.raises(StateConflictError, match="replayed"):
        letters.event(letter.id)


def test_a_full_store_says_so_and_drops_nothing(db: AgentDatabase) -> None:
    letters = DeadLetters(db, max_rows=2)
    one = [InsertEvent("db", "t", [{"id": 1}])]
    letters.park("s", one, epoch=0, why=Refusal("c", "r"))
    letters.park("s", one, epoch=0, why=Refusal("c", "r"))
    assert letters.is_full
    with pytest.raises(DeadLettersFull, match="no room") as caught:
        letters.park("s", one, epoch=0, why=Refusal("c", "r"))
    assert "FUSTOR_AGENT_DEAD_LETTER_ROWS" in caught.value.hint
    assert letters.count("s") == 2 == len(letters.page())
    letters.delete(letters.page()[0].id)
    letters.park("s", one, epoch=0, why=Refusal("c", "r"))


def test_a_full_disk_is_said_and_undone(db: AgentDatabase) -> None:
    (pages,) = db._db.execute("PRAGMA page_count").fetchone()
    db._db.execute(f"PRAGMA max_page_count={pages + 2}")
    letters = DeadLetters(db, max_rows=10**9)
    with pytest.raises(StorageFull, match="full"):
        letters.park("s", [InsertEvent("db", "t", [{"x": "y" * 100_000}])], epoch=0, why=Refusal("c", "r"))
    assert letters.page() == [] and letters.count("s") == 0
    StateStore(db).save("s", SyncMemory(checkpoint=1))


def test_revisions_are_recorded_once_and_bounded(db: AgentDatabase) -> None:
    revisions = Revisions(db)
    assert revisions.newest() is None
    first = revisions.record("a: 1", "found")
    assert revisions.record("a: 1", "again") == first
    second = revisions.record("a: 2", "changed")
    assert [(r.id, r.reason) for r in revisions.latest()] == [(second, "changed"), (first, "found")]
    assert revisions.get(first).text == "a: 1"
    with db.transaction() as connection:
        connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'revisions'", (KEEP + 1,))
    revisions.record("a: 3", "changed")
    with pytest.raises(NotFoundError):
        revisions.get(first)
