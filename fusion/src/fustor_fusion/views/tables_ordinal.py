"""
Rows of tables without a key whose events number them: every row is stored once, by (epoch, index, ordinal), however often it comes,
in whatever order and grouping; how many copies of a row there are follows from what is stored.

A *place* is an (epoch, index). For each table:
- the *base* is how many copies of each row there were at one place; live rows at or below that place are in it and count no more;
- a *reading* is what a snapshot has read of the table so far, all at one place, by one run; a newer run, or the same run at a newer
  place, makes it void. Once all its rows are there (or the snapshot has ended in good order) it is the new base;
- until a first base is known, what the reading has so far stands in for it, so that a first snapshot shows while it comes.

    copies = base + sum of live rows behind the base

A sum may be below zero while pushes overtake each other: it is kept as it is, and only what is above zero is shown.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter
from dataclasses import astuple, dataclass
from typing import Any, Final

import msgspec

from fustor_core.errors import InvalidRequest
from fustor_core.models.envelope import WireEvent
from fustor_fusion.views.base import Applied, Stream

LIVE: Final = 0

DDL: Final = (
    # A row that came (step 1) or went (-1) in the live stream (run 0), or that snapshot `run` has read.
    """CREATE TABLE IF NOT EXISTS tables_copy(
        table_id INTEGER NOT NULL, epoch INTEGER NOT NULL, idx INTEGER NOT NULL, run INTEGER NOT NULL, ordinal INTEGER NOT NULL,
        key TEXT NOT NULL, step INTEGER NOT NULL, PRIMARY KEY(table_id, epoch, idx, run, ordinal)) WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS tables_copy_key ON tables_copy(table_id, key, run, epoch, idx, step)",
    # Where the base is (base_run 0 = there is none), and the reading under way (read_run 0 = none): how many rows have come, of how many.
    """CREATE TABLE IF NOT EXISTS tables_base(
        table_id INTEGER PRIMARY KEY, base_run INTEGER NOT NULL, base_epoch INTEGER NOT NULL, base_idx INTEGER NOT NULL,
        read_run INTEGER NOT NULL, read_epoch INTEGER NOT NULL, read_idx INTEGER NOT NULL,
        read_rows INTEGER NOT NULL, read_total INTEGER)""",
)
_ROW: Final = """
    INSERT INTO tables_row(table_id, key, doc, epoch, idx, run, image, late, copies) VALUES (?, ?, ?, ?, ?, 0, 1, NULL, ?)
    ON CONFLICT(table_id, key) DO UPDATE SET doc = excluded.doc, copies = copies + excluded.copies
"""
_SAVE: Final = "INSERT OR REPLACE INTO tables_base VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_BELOW: Final = "(epoch < ? OR (epoch = ? AND idx <= ?))"
_ABOVE: Final = "(epoch > ? OR (epoch = ? AND idx > ?))"
_UNUSED: Final = (
    "copies = 0 AND base = 0 AND NOT EXISTS"
    " (SELECT 1 FROM tables_copy c WHERE c.table_id = tables_row.table_id AND c.key = tables_row.key)"
)

_encode = msgspec.json.Encoder(order="sorted").encode
Place = tuple[int, int]


@dataclass(slots=True)
class _Base:
    table_id: int
    base_run: int = 0
    base_epoch: int = -1
    base_idx: int = -1
    read_run: int = 0
    read_epoch: int = -1
    read_idx: int = -1
    read_rows: int = 0
    read_total: int | None = None

    @property
    def place(self) -> Place:
        """
        Where the base is.
        """
        return self.base_epoch, self.base_idx

    @property
    def reading(self) -> tuple[int, int, int]:
        """
        Which reading is under way.
        """
        return self.read_run, self.read_epoch, self.read_idx

    @property
    def is_shown(self) -> bool:
        """
        Whether the reading stands in for a base that is not known.
        """
        return not self.base_run and self.read_run > 0

    def forget_reading(self) -> None:
        """
        There is no reading.
        """
        self.read_run, self.read_epoch, self.read_idx, self.read_rows, self.read_total = 0, -1, -1, 0, None


def create(conn: sqlite3.Connection) -> None:
    """
    Create the tables, and the column of the base in a store that is older.
    """
    for statement in DDL:
        conn.execute(statement)
    if "base" not in {row[1] for row in conn.execute("PRAGMA table_info(tables_row)")}:
        conn.execute("ALTER TABLE tables_row ADD COLUMN base INTEGER NOT NULL DEFAULT 0")


class OrdinalRows:
    """
    Applies and sweeps rows that have ordinals. Applier thread only; keeps nothing in memory.
    """

    def is_numbered(self, conn: sqlite3.Connection, table_id: int) -> bool:
        """
        Tell whether rows of the table have come with ordinals.
        """
        return self._load(conn, table_id) is not None

    def apply(
        self, conn: sqlite3.Connection, table_id: int, stream: Stream, event: WireEvent, applied: Applied
    ) -> None:
        """
        Store the rows of an event; without rows it says that a snapshot has read the table to its end.

        Raises:
            InvalidRequest: It is an update: it is to come as a delete and an insert, each with an ordinal of its own.
        """
        if event.event_type == "update":
            raise InvalidRequest(
                f"table {event.table!r} has no key, so a row of it can't be updated",
                hint="send the old row as a delete and the new one as an insert",
                context={"table": event.table, "schema": event.event_schema},
            )
        base = self._load(conn, table_id)
        if base is None:
            base = self._begin(conn, table_id)
        if stream.run is None:
            self._live(conn, base, stream, event, applied)
        else:
            self._read(conn, base, stream, stream.run, event, applied)

    # Live rows

    def _live(self, conn: sqlite3.Connection, base: _Base, stream: Stream, event: WireEvent, applied: Applied) -> None:
        place = (stream.epoch, event.index)
        if place <= base.place:
            applied.stale += len(event.rows)  # the base has it
            return
        counts = not base.is_shown or place > (base.read_epoch, base.read_idx)
        step = 1 if event.event_type == "insert" else -1
        self._store(conn, base, place, LIVE, step, event, applied, counts=counts)

    @staticmethod
    def _store(
        conn: sqlite3.Connection,
        base: _Base,
        place: Place,
        run: int,
        step: int,
        event: WireEvent,
        applied: Applied,
        *,
        counts: bool,
    ) -> int:
        """
        Store the rows that are not there yet; return how many those were.
        """
        first, end = event.ordinal or 0, (event.ordinal or 0) + len(event.rows)
        there = {
            ordinal
            for (ordinal,) in conn.execute(
                "SELECT ordinal FROM tables_copy WHERE table_id = ? AND epoch = ? AND idx = ? AND run = ?"
                " AND ordinal >= ? AND ordinal < ?",
                (base.table_id, *place, run, first, end),
            )
        }
        copies: list[tuple[Any, ...]] = []
        docs: dict[str, str] = {}
        changed = Counter[str]()
        for ordinal, row in enumerate(event.rows, first):
            if ordinal in there:
                continue
            doc = _encode(dict(zip(event.fields, row, strict=True)))
            key = hashlib.blake2b(doc, digest_size=20).hexdigest()
            docs[key] = doc.decode()
            changed[key] += step if counts else 0
            copies.append((base.table_id, *place, run, ordinal, key, step))
        conn.executemany("INSERT INTO tables_copy VALUES (?, ?, ?, ?, ?, ?, ?)", copies)
        conn.executemany(_ROW, [(base.table_id, key, docs[key], *place, n) for key, n in changed.items()])
        applied.applied += len(copies)
        applied.stale += len(there)
        return len(copies)

    # Readings

    def _read(
        self, conn: sqlite3.Connection, base: _Base, stream: Stream, run: int, event: WireEvent, applied: Applied
    ) -> None:
        place = (stream.epoch, event.index)
        if place < base.place or (place == base.place and run <= base.base_run):
            # Invariant 9: the base is exact, and newer than what was read. The run has confirmed it.
            applied.stale += len(event.rows)
            if run > base.base_run:
                base.base_run = run
                self._save(conn, base)
            return
        reading = (run, *place)
        if reading < base.reading:
            applied.stale += len(event.rows)  # the table was begun anew since
            return
        if reading > base.reading:
            self._drop_reading(conn, base)
            base.read_run, base.read_epoch, base.read_idx = reading
            if base.is_shown:
                self._recount(conn, base)
        if event.rows:
            base.read_rows += self._store(conn, base, place, run, 1, event, applied, counts=base.is_shown)
        else:
            base.read_total = event.ordinal
        if base.read_rows == base.read_total:
            self._adopt(conn, base)
        self._save(conn, base)

    @staticmethod
    def _drop_reading(conn: sqlite3.Connection, base: _Base) -> None:
        if base.read_run:
            conn.execute("DELETE FROM tables_copy WHERE table_id = ? AND run <> ?", (base.table_id, LIVE))
        base.forget_reading()

    def _adopt(self, conn: sqlite3.Connection, base: _Base) -> None:
        """
        Make the reading the base.
        """
        table, place = base.table_id, (base.read_epoch, base.read_idx)
        conn.execute("UPDATE tables_row SET base = 0 WHERE table_id = ? AND base <> 0", (table,))
        conn.execute(
            "UPDATE tables_row SET base = read.n FROM (SELECT key, COUNT(*) AS n FROM tables_copy"
            " WHERE table_id = ?1 AND run = ?2 AND epoch = ?3 AND idx = ?4 GROUP BY key) AS read"
            " WHERE tables_row.table_id = ?1 AND tables_row.key = read.key",
            (table, base.read_run, *place),
        )
        base.base_run, base.base_epoch, base.base_idx = base.read_run, *place
        self._drop_reading(conn, base)
        conn.execute(f"DELETE FROM tables_copy WHERE table_id = ? AND {_BELOW}", (table, place[0], place[0], place[1]))
        self._recount(conn, base)

    @staticmethod
    def _recount(conn: sqlite3.Connection, base: _Base) -> None:
        """
        Work out anew how many copies of each row there are.
        """
        table = base.table_id
        behind = (base.read_epoch, base.read_idx) if base.is_shown else base.place
        conn.execute("UPDATE tables_row SET copies = base WHERE table_id = ? AND copies <> base", (table,))
        conn.execute(
            "UPDATE tables_row SET copies = base + live.n FROM (SELECT key, SUM(step) AS n FROM tables_copy"
            f" WHERE table_id = ?1 AND run = {LIVE} AND (epoch > ?2 OR (epoch = ?2 AND idx > ?3)) GROUP BY key) AS live"
            " WHERE tables_row.table_id = ?1 AND tables_row.key = live.key",
            (table, *behind),
        )
        conn.execute(f"DELETE FROM tables_row WHERE table_id = ? AND {_UNUSED}", (table,))

    def sweep(self, conn: sqlite3.Connection, table_id: int, stream: Stream, start_index: int) -> int:
        """
        A snapshot has ended in good order: what it read of the table is the base; nothing, when it read nothing there.

        Returns:
            How many rows are shown no more.
        """
        base, run = self._load(conn, table_id), stream.run
        if base is None or run is None or (base.base_run == run and base.read_run != run):
            return 0
        before = self._shown(conn, table_id)
        if base.read_run != run:
            # The table is not there any more, or is no longer wanted.
            self._drop_reading(conn, base)
            base.read_run = run
            base.read_epoch, base.read_idx = max((stream.epoch, start_index), base.place)
        self._adopt(conn, base)
        self._save(conn, base)
        return max(0, before - self._shown(conn, table_id))

    def fold(self, conn: sqlite3.Connection, table_id: int, epoch: int, checkpoint: int, limit: int) -> int:
        """
        Put live rows below the checkpoint, which never come anew, into the base; return how many. No snapshot is under way.
        """
        base = self._load(conn, table_id)
        if base is None:
            return 0
        bound = f"table_id = ? AND run = {LIVE} AND (epoch < ? OR (epoch = ? AND idx < ?))"
        values = (table_id, epoch, epoch, checkpoint)
        order = f"SELECT epoch, idx FROM tables_copy WHERE {bound} ORDER BY"
        # Invariant 9: up to a place, all of it: what is at or below the base counts no more.
        place: Place | None = (
            conn.execute(f"{order} epoch, idx LIMIT 1 OFFSET ?", (*values, limit - 1)).fetchone()
            or conn.execute(f"{order} epoch DESC, idx DESC LIMIT 1", values).fetchone()
        )
        if place is None:
            return 0
        if base.read_run:  # of a snapshot that was given up
            self._drop_reading(conn, base)
            self._recount(conn, base)
        chosen = (table_id, place[0], place[0], place[1])
        sums = conn.execute(
            f"SELECT key, SUM(step) FROM tables_copy WHERE table_id = ? AND {_BELOW} GROUP BY key", chosen
        ).fetchall()
        conn.executemany(
            "UPDATE tables_row SET base = base + ? WHERE table_id = ? AND key = ?", [(n, table_id, k) for k, n in sums]
        )
        folded = conn.execute(f"DELETE FROM tables_copy WHERE table_id = ? AND {_BELOW}", chosen).rowcount
        conn.executemany(
            f"DELETE FROM tables_row WHERE table_id = ? AND key = ? AND {_UNUSED}", [(table_id, k) for k, _ in sums]
        )
        base.base_run = max(1, base.base_run)
        base.base_epoch, base.base_idx = place
        self._save(conn, base)
        return folded

    # The store

    @staticmethod
    def _begin(conn: sqlite3.Connection, table_id: int) -> _Base:
        # Rows that an older client sent without ordinals can't be told from these: a snapshot brings them anew.
        conn.execute("DELETE FROM tables_delta WHERE table_id = ?", (table_id,))
        conn.execute("DELETE FROM tables_row WHERE table_id = ?", (table_id,))
        base = _Base(table_id)
        OrdinalRows._save(conn, base)
        return base

    @staticmethod
    def _load(conn: sqlite3.Connection, table_id: int) -> _Base | None:
        found = conn.execute("SELECT * FROM tables_base WHERE table_id = ?", (table_id,)).fetchone()
        return None if found is None else _Base(*found)

    @staticmethod
    def _save(conn: sqlite3.Connection, base: _Base) -> None:
        conn.execute(_SAVE, astuple(base))

    @staticmethod
    def _shown(conn: sqlite3.Connection, table_id: int) -> int:
        found = conn.execute(
            "SELECT COALESCE(SUM(copies), 0) FROM tables_row WHERE table_id = ? AND copies > 0", (table_id,)
        ).fetchone()
        return int(found[0])
