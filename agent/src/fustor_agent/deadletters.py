"""
Dead letters: what a consumer refuses for good, kept until a person looks, mends and replays, or deletes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from fustor_agent.database import AgentDatabase
from fustor_agent.sync.ports import Refusal
from fustor_agent.writable import writable
from fustor_core.errors import ConfigError, NotFoundError, StateConflictError
from fustor_core.models.envelope import WireEvent, from_wire, to_wire
from fustor_core.models.event import EventBase
from fustor_core.values import encode_value

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(WireEvent)
_COLUMNS = "id, sync_id, ts, epoch, code, reason, hint, event_type, event_schema, table_name, row_count, faithful"


class DeadLettersFull(ConfigError):
    """
    The limit of dead letters is reached: only a person can make room, so the sync shows ERROR until then.
    """

    code = "agent.dead_letters_full"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """
    One parked event.

    Attributes:
        id: Grows with time.
        sync: The sync it belongs to.
        ts: When it was parked, epoch seconds.
        epoch: Epoch of its index.
        code, reason: Why it was refused.
        hint: What to do about it; "" when nobody knows.
        rows: How many rows it has.
        replayable: False when a value had no wire mapping: then what is kept is only good for reading.
    """

    id: int
    sync: str
    ts: float
    epoch: int
    code: str
    reason: str
    hint: str
    event_type: str
    event_schema: str
    table: str
    rows: int
    replayable: bool

    def to_dict(self) -> dict[str, Any]:
        """
        Return plain data.
        """
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """
    Which letters: of a sync, of a table, with a code; None = any.
    """

    sync: str | None = None
    table: str | None = None
    code: str | None = None

    def sql(self) -> tuple[str, tuple[str, ...]]:
        """
        Return what follows a condition, and its values.
        """
        given = {"sync_id": self.sync, "table_name": self.table, "code": self.code}
        named = {column: value for column, value in given.items() if value is not None}
        return "".join(f" AND {column} = ?" for column in named), tuple(named.values())


class DeadLetters:
    """
    The `DeadLetterStore` of the sync runtime, and what the API shows of it.

    Args:
        db: Where they are kept.
        max_rows: Most rows of all syncs together. When that is reached nothing more is parked, and nothing is dropped: `park` raises
            and the sync stops with that reason until a person has made room.
    """

    def __init__(self, db: AgentDatabase, *, max_rows: int) -> None:
        self._db = db
        self.max_rows = max_rows
        self._rows = self._counted()

    def park(self, sync_id: str, events: Sequence[EventBase], *, epoch: int, why: Refusal) -> None:
        """
        Park events: on disk when it returns.

        Raises:
            DeadLettersFull: There is no room for them; nothing was parked.
            StorageFull: The disk is full; nothing was parked.
        """
        adding = sum(len(event.rows) for event in events)
        if sum(self._rows.values()) + adding > self.max_rows:
            raise DeadLettersFull(
                f"no room for {adding} more rows of sync {sync_id!r} among the dead letters (limit {self.max_rows})",
                hint="look at why the consumer refuses them (`GET /api/dead-letters`), then replay or delete them; "
                "FUSTOR_AGENT_DEAD_LETTER_ROWS sets the limit",
                context={"sync": sync_id, "limit": self.max_rows},
            )
        now = time.time()
        rows = [
            (
                sync_id,
                now,
                epoch,
                *why,
                w.event_type,
                w.event_schema,
                w.table,
                len(w.rows),
                ok,
                _encoder.encode(w),
            )
            for event in events
            for w, ok in _on_wire(event)
        ]
        with self._db.transaction() as db:
            db.executemany(
                "INSERT INTO dead_letters (sync_id, ts, epoch, code, reason, hint, event_type, event_schema, table_name,"
                " row_count, faithful, event) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )
        self._rows[sync_id] = self._rows.get(sync_id, 0) + adding

    def count(self, sync_id: str) -> int:
        """
        Return how many rows are parked for a sync.
        """
        return self._rows.get(sync_id, 0)

    def counts(self) -> dict[str, int]:
        """
        Return how many rows are parked, by sync.
        """
        return {sync: rows for sync, rows in self._rows.items() if rows}

    @property
    def is_full(self) -> bool:
        """
        Whether the limit is reached.
        """
        return sum(self._rows.values()) >= self.max_rows

    def page(self, wanted: LetterFilter | None = None, *, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        """
        Return letters with an id above `after`, oldest first.
        """
        where, values = (wanted or LetterFilter()).sql()
        sql = f"SELECT {_COLUMNS} FROM dead_letters WHERE id > ?{where} ORDER BY id LIMIT ?"
        return [_letter(row) for row in self._db.rows(sql, after, *values, limit)]

    def delete_all(self, wanted: LetterFilter) -> int:
        """
        Delete letters for good; return how many.
        """
        where, values = wanted.sql()
        with self._db.transaction() as db:
            deleted = db.execute(f"DELETE FROM dead_letters WHERE id > 0{where}", values).rowcount
        self._rows = self._counted()
        return deleted

    def _counted(self) -> dict[str, int]:
        counted = self._db.rows("SELECT sync_id, sum(row_count) FROM dead_letters GROUP BY 1")
        return {str(sync): _int(rows) for sync, rows in counted}

    def get(self, letter_id: int) -> tuple[DeadLetter, WireEvent]:
        """
        Return a letter and the event in it.

        Raises:
            NotFoundError: There is no such letter.
        """
        for row in self._db.rows(f"SELECT {_COLUMNS}, event FROM dead_letters WHERE id = ?", letter_id):
            body = row[-1]
            assert isinstance(body, bytes)
            return _letter(row[:-1]), _decoder.decode(body)
        raise NotFoundError(
            f"no dead letter {letter_id}", hint="`GET /api/dead-letters` lists them", context={"id": letter_id}
        )

    def event(self, letter_id: int) -> tuple[DeadLetter, EventBase]:
        """
        Return a letter and its event, ready to be pushed.

        Raises:
            NotFoundError: There is no such letter.
            StateConflictError: It holds values that had no wire mapping.
        """
        letter, wire = self.get(letter_id)
        if not letter.replayable:
            raise StateConflictError(
                f"dead letter {letter_id} can't be replayed: it holds values that can't travel, kept as text",
                hint="mend the source driver, then take a snapshot of the table",
                context={"id": letter_id, "sync": letter.sync},
            )
        return letter, from_wire(wire)

    def delete(self, letter_id: int) -> None:
        """
        Delete a letter for good.

        Raises:
            NotFoundError: There is no such letter.
        """
        letter, _ = self.get(letter_id)
        with self._db.transaction() as db:
            db.execute("DELETE FROM dead_letters WHERE id = ?", (letter_id,))
        self._rows[letter.sync] -= letter.rows


def _letter(row: Sequence[Any]) -> DeadLetter:
    values: list[Any] = [*row[:11], bool(row[11])]
    return DeadLetter(*values)


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0


def _on_wire(event: EventBase) -> list[tuple[WireEvent, bool]]:
    try:
        wire = to_wire([event])
        for one in wire:
            _encoder.encode(one)
        return [(one, True) for one in wire]
    except (TypeError, ValueError, OverflowError):
        # What is refused may be just what can't be encoded: then it is kept as text, to be read by a person.
        fields = list(event.fields)
        rows = [list(row.values()) if isinstance(row, Mapping) else list(row) for row in event.rows]
        shown = WireEvent(
            event_type=event.event_type.value,
            event_schema=writable(event.event_schema),
            table=writable(event.table),
            fields=[writable(name) for name in fields],
            rows=[[_readable(value) for value in row] for row in rows],
            index=event.index,
            key=None if event.key is None else [writable(name) for name in event.key],
            ordinal=event.ordinal,
        )
        return [(shown, False)]


def _readable(value: Any) -> Any:
    try:
        encoded = encode_value(value)
        _encoder.encode(encoded)
        return encoded
    except (TypeError, ValueError, OverflowError):
        return writable(value if isinstance(value, str) else repr(value))
