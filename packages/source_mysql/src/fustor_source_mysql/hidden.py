"""
Tables that the account may not read, or not with all their wanted columns.

The log tells of every table, while `information_schema` shows an account only what it may read: for a snapshot such a table is not
there, or has fewer columns. What the consumer has of it would be a part, and nobody would say so. So the server is asked for a table that
it does not describe as the log does, and what it refuses is noted in a file:

| the table | what becomes of it |
|---|---|
| is in a database that the source names | its rows are told untold; every snapshot of it says that it can't be read, with the GRANT |
| is in another one (the source is to read whatever the account may) | left out, until it may be read; then its rows are told untold |
| is readable, but not all of its columns | as in a database that is named |
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from fustor_core.errors import FustorError, PermissionMissing
from fustor_core.state_file import write_state
from fustor_source_mysql.control import Control
from fustor_source_mysql.faults import is_of_statement
from fustor_source_mysql.schema import named

Place = tuple[str, str]

_ANY_COLUMN: Final = "1"


class Look(NamedTuple):
    """
    What came of looking at a table.

    Attributes:
        is_left_out: Its rows are not for the consumer.
        lacks_rows: The consumer lacks rows of it, until a snapshot has read it.
    """

    is_left_out: bool
    lacks_rows: bool


class HiddenTables:
    """
    What was met of them; remembered over a restart. Safe from every thread.

    Args:
        control: Asks the server.
        folder: The driver's own folder.
        databases: Those that the source names; empty = whatever the account may read.
    """

    def __init__(self, control: Control, folder: Path, databases: Collection[str]) -> None:
        self._control = control
        self._file = folder / "hidden.json"
        self._databases = databases
        self._lock = threading.Lock()
        self._columns: dict[Place, tuple[str, ...]] = {}
        self._left_out: set[Place] = set()
        try:
            known = json.loads(self._file.read_text())
            self._columns = {(schema, table): tuple(columns) for schema, table, columns in known["hidden"]}
            self._left_out = {(schema, table) for schema, table in known["left_out"]}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError):
            self._columns, self._left_out = {}, set()  # damaged: they are met again

    def _save(self) -> None:
        hidden = [[*place, list(columns)] for place, columns in sorted(self._columns.items())]
        write_state(self._file, {"hidden": hidden, "left_out": sorted(self._left_out)})

    def __contains__(self, place: Place) -> bool:
        with self._lock:
            return place in self._columns or place in self._left_out

    def look(self, place: Place, columns: Sequence[str], *, is_described: bool) -> Look:
        """
        Look at a table of which the log has rows; noted on disk when this returns.

        Args:
            place: Schema and name.
            columns: Its wanted columns.
            is_described: Whether the server describes it, if not with all of these.

        Raises:
            FustorError: The server can't be asked, or the file not written.
        """
        refusal = self._refusal(place, columns)
        with self._lock:
            was_left_out = place in self._left_out
            is_left_out = refusal is not None and not is_described and not self._databases
            if is_left_out and not was_left_out:
                self._left_out.add(place)
                self._save()
            elif (
                not is_left_out and (refusal is not None or was_left_out) and self._columns.get(place) != tuple(columns)
            ):
                self._left_out.discard(place)
                self._columns[place] = tuple(columns)
                self._save()
            return Look(is_left_out, lacks_rows=place in self._columns)

    def dropped(self, places: Collection[Place]) -> None:
        """
        Tables are gone. The server refuses them to who may not read them as before.
        """
        with self._lock:
            if not any(place in self._columns or place in self._left_out for place in places):
                return
            self._left_out.difference_update(places)
            for place in places:
                self._columns.pop(place, None)
            self._save()

    def renamed(self, old: Place, new: Place, *, is_wanted: bool) -> None:
        """
        A table is called something else. What is not known of the one of that name does not count any more.

        Args:
            old: Schema and name until now.
            new: Schema and name from now on.
            is_wanted: Whether the source reads what is called so.
        """
        with self._lock:
            if not any(place in self._columns or place in self._left_out for place in (old, new)):
                return
            self._columns.pop(new, None)
            self._left_out.discard(new)
            columns = self._columns.pop(old, None)
            was_left_out = old in self._left_out
            self._left_out.discard(old)
            if is_wanted and columns is not None:
                self._columns[new] = columns
            if is_wanted and was_left_out:
                self._left_out.add(new)
            self._save()

    def schema_dropped(self, schema: str) -> None:
        """
        All tables of a schema are gone.
        """
        with self._lock:
            places = [place for place in (*self._columns, *self._left_out) if place[0] == schema]
        self.dropped(places)

    def refusals(self, is_asked: Callable[[Place], bool]) -> dict[Place, PermissionMissing]:
        """
        Return the tables that a snapshot is to read and can't, and why; what it can read by now is forgotten.

        Args:
            is_asked: Tells whether it is to read a table.

        Raises:
            FustorError: The server can't be asked, or the file not written.
        """
        with self._lock:
            known = {place: columns for place, columns in self._columns.items() if is_asked(place)}
        asked = {place: self._refusal(place, columns) for place, columns in known.items()}
        refused = {place: refusal for place, refusal in asked.items() if refusal is not None}
        if len(refused) < len(known):
            with self._lock:
                self._columns = {p: columns for p, columns in self._columns.items() if p in refused or p not in known}
                self._save()
        return refused

    def _refusal(self, place: Place, columns: Sequence[str]) -> PermissionMissing | None:
        schema, table = place
        what = ", ".join(map(named, columns)) or _ANY_COLUMN
        try:
            sql = f"SELECT {what} FROM {named(schema)}.{named(table)} LIMIT 0"
            self._control.query(sql, f"reading {schema}.{table}")
        except PermissionMissing as exc:
            return PermissionMissing(
                exc.message, hint=f"{exc.hint} Or name the table in `exclude`.", context=exc.context
            )
        except FustorError as exc:
            if not is_of_statement(exc):
                raise
            # It is not there any more, or has other columns by now: that is not for the rights to say.
        return None

    def problems(self) -> list[dict[str, str]]:
        """
        Return the databases with tables that are left out: `where`, `what` is the matter and a `hint`.
        """
        with self._lock:
            counts = Counter(schema for schema, _ in self._left_out)
        return [
            {
                "where": schema,
                "what": f"the account may not read {count} of its tables that have changed: left out",
                "hint": "name the wanted databases in `include`; if this is one of them, grant the account SELECT on it",
            }
            for schema, count in sorted(counts.items())
        ]
