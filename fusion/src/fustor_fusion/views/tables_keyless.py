"""
Rows of tables without a key: the whole row is the key, and how many copies there are is what changes.

Each change of the number of copies is kept with its version, so that a change that comes again replaces itself; the number
of copies is what the newest snapshot had plus the changes after it. Within one push, changes with the same index are
counted together (`fustor_fusion.ingest`); two pushes that bring the same change at the same index count once.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter

import msgspec

from fustor_core.errors import InvalidRequest
from fustor_core.models.envelope import WireEvent
from fustor_fusion.views.base import Applied, Stream

CAME = 1
WENT = -1

_encode = msgspec.json.Encoder(order="sorted").encode


class KeylessRows:
    """
    Applies and sweeps rows of tables without a key. Applier thread only.
    """

    def apply(
        self, conn: sqlite3.Connection, table_id: int, stream: Stream, event: WireEvent, applied: Applied
    ) -> None:
        """
        Count the copies that came or went.

        Raises:
            InvalidRequest: It is an update: without a key nobody can tell of which row.
        """
        if event.event_type == "update":
            raise InvalidRequest(
                f"table {event.table!r} has no key, so a row of it can't be updated",
                hint="send the old row as a delete and the new one as an insert",
                context={"table": event.table, "schema": event.event_schema},
            )
        docs = Counter(_encode(dict(zip(event.fields, row, strict=True))).decode() for row in event.rows)
        what = CAME if event.event_type == "insert" else WENT
        if stream.run is not None:
            what = stream.run + 1
        for doc, copies in docs.items():
            key = hashlib.blake2b(doc.encode(), digest_size=20).hexdigest()
            before = self._copies(conn, table_id, key)
            conn.execute(
                "INSERT OR REPLACE INTO tables_delta(table_id, key, epoch, idx, what, copies) VALUES (?, ?, ?, ?, ?, ?)",
                (table_id, key, stream.epoch, event.index, what, copies),
            )
            after = self._settle(conn, table_id, key, doc, stream)
            if after != before:
                applied.applied += copies
            else:
                applied.stale += copies

    @staticmethod
    def _copies(conn: sqlite3.Connection, table_id: int, key: str) -> int:
        row = conn.execute(
            "SELECT copies FROM tables_row WHERE table_id = ? AND key = ? AND doc IS NOT NULL", (table_id, key)
        ).fetchone()
        return 0 if row is None else int(row[0])

    @staticmethod
    def _settle(conn: sqlite3.Connection, table_id: int, key: str, doc: str, stream: Stream) -> int:
        """
        Work out the number of copies anew and write it; return it.
        """
        deltas = conn.execute(
            "SELECT epoch, idx, what, copies FROM tables_delta WHERE table_id = ? AND key = ?", (table_id, key)
        ).fetchall()
        copies, _, version = _total(deltas)
        conn.execute(
            "INSERT INTO tables_row(table_id, key, doc, epoch, idx, run, image, late, copies) VALUES (?, ?, ?, ?, ?, ?, 1, NULL, ?)"
            " ON CONFLICT(table_id, key) DO UPDATE SET doc = excluded.doc, epoch = excluded.epoch, idx = excluded.idx,"
            " run = max(excluded.run, run), copies = excluded.copies",
            (table_id, key, doc if copies else None, *version, stream.run or 0, copies),
        )
        return copies

    def fold(self, conn: sqlite3.Connection, table_id: int, epoch: int, checkpoint: int, limit: int) -> int:
        """
        Put changes below the checkpoint, which never come again, together; return for how many rows.

        What they come to stands in for a snapshot: changes at or below its version no longer count.
        """
        bound = "(epoch < ? OR (epoch = ? AND idx < ?))"
        version = (epoch, epoch, checkpoint)
        keys = conn.execute(
            f"SELECT DISTINCT key FROM tables_delta WHERE table_id = ? AND what < 2 AND {bound} LIMIT ?",
            (table_id, *version, limit),
        ).fetchall()
        for (key,) in keys:
            deltas = conn.execute(
                f"SELECT epoch, idx, what, copies FROM tables_delta WHERE table_id = ? AND key = ? AND {bound}",
                (table_id, key, *version),
            ).fetchall()
            copies, run, newest = _total(deltas)
            conn.execute(
                f"DELETE FROM tables_delta WHERE table_id = ? AND key = ? AND {bound}", (table_id, key, *version)
            )
            # A number that any snapshot still to come is above: they begin at run 2, since one has ended.
            conn.execute(
                "INSERT INTO tables_delta(table_id, key, epoch, idx, what, copies) VALUES (?, ?, ?, ?, ?, ?)",
                (table_id, key, *newest, max(run, 2), copies),
            )
        return len(keys)

    def sweep(self, conn: sqlite3.Connection, table_id: int, stream: Stream, start_index: int) -> int:
        """
        Remove the rows (all copies) that the snapshot did not confirm and that no change since its beginning touched.
        """
        below = "(epoch < ? OR (epoch = ? AND idx < ?))"
        version = (stream.epoch, stream.epoch, start_index)
        old = f"table_id = ? AND run <> ? AND doc IS NOT NULL AND {below}"
        conn.execute(
            f"DELETE FROM tables_delta WHERE table_id = ? AND key IN (SELECT key FROM tables_row WHERE {old})",
            (table_id, table_id, stream.run, *version),
        )
        removed = conn.execute(
            f"SELECT COALESCE(SUM(copies), 0) FROM tables_row WHERE {old}", (table_id, stream.run, *version)
        ).fetchone()[0]
        conn.execute(f"DELETE FROM tables_row WHERE {old}", (table_id, stream.run, *version))
        return int(removed)


def _total(deltas: list[tuple[int, int, int, int]]) -> tuple[int, int, tuple[int, int]]:
    """
    Return how many copies changes come to, the number of the snapshot they stand on (0 = none), and their newest version.
    """
    run = max((what for _, _, what, _ in deltas if what > CAME), default=0)
    base = max(((e, i) for e, i, what, _ in deltas if run and what == run), default=(-1, -2))
    copies = sum(n for _, _, what, n in deltas if run and what == run)
    copies += sum(what * n for e, i, what, n in deltas if what in (CAME, WENT) and (e, i) > base)
    return max(0, copies), run, max((e, i) for e, i, _, _ in deltas)
