"""
How tables were, and up to which place of the log: what a stream that is opened at a place compares the tables of now with.

Several readers of one source (a sync that lags has one of its own) find a change of tables at different places, and each marks it
for its own syncs only. So a state of tables counts from the last of these places on, once every reader has marked it; a sync that
is opened before that is told of the change (once more, at worst).

States alone miss a table that came and went between two of them, as when the agent was away: its rows may have left before it was
in a state that counts. So a table is noted before the first of its rows can leave, and stays noted until every reader has marked a
state without it, and nobody begins before that mark any more.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from fustor_core.state_file import write_state

TableName = tuple[str, str]
"""
Schema and table.
"""
States = Mapping[TableName, str]

_KEPT: Final = 50

EVERY_TABLE: Final[TableName] = ("", "")
"""
Stands for all tables, among the states of tables of which nothing is known: so they count as changed until that was told.
"""
UNKNOWN: Final = ""
"""
A state that no table has.
"""
_NEVER_LOOKED: Final = -1


class Known(NamedTuple):
    """
    The states of tables from a place on.

    Attributes:
        place: Index from which they count.
        states: What the tables were.
        looked_at: LSN: the catalog was read after it.
    """

    place: int
    states: dict[TableName, str]
    looked_at: int = _NEVER_LOOKED


class Noted(NamedTuple):
    """
    A table whose rows may have left.

    Attributes:
        place: LSN: newest place where this was so.
        in_doubt: Its rows had a shape there that no state tells of: whatever state it has, it counts as changed.
    """

    place: int
    in_doubt: bool


_NEVER: Final = Noted(_NEVER_LOOKED, in_doubt=False)


class TableHistory:
    """
    The history of one source's tables, shared by its readers in this process and kept in a file. Safe from every thread.

    Args:
        folder: The driver's own folder.
    """

    _shared: Final[dict[Path, TableHistory]] = {}
    _sharing: Final = threading.Lock()

    def __init__(self, folder: Path) -> None:
        self._file = folder / "tables.json"
        self._lock = threading.Lock()
        self._server = ""
        self._known: list[Known] = []
        self._noted: dict[TableName, Noted] = {}
        self._readers: dict[object, Known] = {}
        try:
            read = json.loads(self._file.read_text())
            known = [Known(int(place), _states(states), int(looked_at)) for place, states, looked_at in read["known"]]
            noted = {
                (str(schema), str(table)): Noted(int(place), bool(in_doubt))
                for schema, table, (place, in_doubt) in read["noted"]
            }
            self._server, self._known, self._noted = str(read["server"]), known, noted
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # none yet, or damaged: as if nothing were known

    @classmethod
    def of(cls, folder: Path) -> TableHistory:
        """
        Return the history that is kept in a folder.
        """
        with cls._sharing:
            if folder not in cls._shared:
                cls._shared[folder] = cls(folder)
            return cls._shared[folder]

    def at(self, server: str, index: int) -> dict[TableName, str] | None:
        """
        Return how the tables were for who has passed an index; None when that is not known (any more). Tables whose rows may have
        left, and that were not there at this place, are among them as unknown.
        """
        with self._lock:
            if server != self._server:
                return None
            found = next((known for known in reversed(self._known) if known.place <= index), None)
            if found is None:
                return None
            unknown = [
                table
                for table, noted in self._noted.items()
                if noted.place > found.looked_at and (noted.in_doubt or table not in found.states)
            ]
            return found.states | dict.fromkeys(unknown, UNKNOWN)

    def note(self, server: str, place: int, tables: Iterable[TableName], *, in_doubt: bool = False) -> None:
        """
        Rows of these tables may leave at an LSN; on disk when this returns.

        Args:
            in_doubt: Rows in a shape that no state tells of.

        Raises:
            ConfigError: The file can't be written.
        """
        with self._lock:
            self._belong_to(server)
            covered = self._known[-1].looked_at if self._known else _NEVER_LOOKED
            is_on_disk = True
            for table in tables:
                before = self._noted.get(table, _NEVER)
                is_on_disk = is_on_disk and before.place > covered and before.in_doubt >= in_doubt
                self._noted[table] = Noted(max(place, before.place), in_doubt or before.in_doubt)
            if not is_on_disk:
                self._save()

    def begin(self, reader: object, server: str, index: int, states: States) -> None:
        """
        A reader begins behind an index, with the tables as they were there.

        Raises:
            ConfigError: The file can't be written.
        """
        with self._lock:
            self._belong_to(server)
            # What others have marked behind this place is not marked for the syncs of this reader yet.
            marked = [known for known in self._known if known.place <= index]
            if len(marked) < len(self._known):
                self._known = marked
                self._save()
            self._readers[reader] = Known(index, dict(states))
            self._agree()

    def told(self, reader: object, index: int, states: States, looked_at: int) -> None:
        """
        A reader has marked at an index that tables are no longer what they were.

        Raises:
            ConfigError: The file can't be written.
        """
        with self._lock:
            if reader in self._readers:
                self._readers[reader] = Known(index, dict(states), looked_at)
                self._agree()

    def end(self, reader: object) -> None:
        """
        A reader has ended.
        """
        with self._lock:
            self._readers.pop(reader, None)

    def passed(self, index: int) -> None:
        """
        Nobody begins before an index any more.

        Raises:
            ConfigError: The file can't be written.
        """
        with self._lock:
            while len(self._known) > 1 and self._known[1].place <= index:
                self._known.pop(0)
            if self._known and self._known[0].place <= index:
                self._forget(self._known[0].looked_at)

    def _forget(self, looked_at: int) -> None:
        """
        Forget what was noted before a look whose states everybody has marked and passed: that a table was in doubt, and tables that
        were gone then.
        """
        states = [known.states for known in (*self._known, *self._readers.values())]
        # Invariant: a table that was made anew since that look has been noted since.
        kept = {
            table: noted if noted.place > looked_at else Noted(noted.place, in_doubt=False)
            for table, noted in self._noted.items()
            if noted.place > looked_at or any(table in one for one in states)
        }
        if kept != self._noted:
            self._noted = kept
            self._save()

    def _belong_to(self, server: str) -> None:
        if server != self._server:
            self._server, self._known, self._noted = server, [], {}

    def _agree(self) -> None:
        # Invariant 10: in force only from where every reader has marked it.
        states = next(iter(self._readers.values())).states
        if any(one.states != states for one in self._readers.values()):
            return
        looked_at = min(one.looked_at for one in self._readers.values())
        if not self._known or self._known[-1].states != states or looked_at > self._known[-1].looked_at:
            index = max(one.place for one in self._readers.values())
            self._known = [*self._known, Known(index, states, looked_at)][-_KEPT:]
            self._save()

    def _save(self) -> None:
        content = {
            "server": self._server,
            "known": [(known.place, _listed(known.states), known.looked_at) for known in self._known],
            "noted": _listed(self._noted),
        }
        write_state(self._file, content)


def _listed(by_table: Mapping[TableName, Any]) -> list[tuple[str, str, Any]]:
    return [(schema, table, value) for (schema, table), value in by_table.items()]


def _states(listed: Iterable[tuple[str, str, str]]) -> dict[TableName, str]:
    return {(str(schema), str(table)): str(state) for schema, table, state in listed}
