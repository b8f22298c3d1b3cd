"""
Tables that entered the publication while transactions were under way.

What such a transaction had written to the table before is not published, and it may commit after a snapshot has read the table: the
stream passes its commit and tells nothing. So the table counts as changed once more when every transaction of that time has ended.
(Who changes a table itself waits for its writers; who adds it to a publication does not.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from fustor_source_postgres.history import States, TableName
from fustor_source_postgres.visibility import TransactionSnapshot

_OPEN: Final = "under way: "


def bare(state: str) -> str:
    """
    Return a state without the mark.
    """
    return state.removeprefix(_OPEN)


class Settling:
    """
    Which tables are not settled. Their states are given out marked, so that the end of the mark is a change like any other, also
    over a restart.

    Args:
        look: Takes a snapshot of what is under way.
    """

    def __init__(self, look: Callable[[], TransactionSnapshot]) -> None:
        self._look = look
        self._until: dict[TableName, int] = {}

    def begin(self, names: Iterable[TableName]) -> None:
        """
        Tables have entered the publication just now.
        """
        names = list(names)
        if names:
            now = self._look()
            if now.xmin < now.xmax:
                self._until.update(dict.fromkeys(names, now.xmax))

    def go_on(self, known: States) -> None:
        """
        Take up again what was not settled when states were saved; whatever is under way now counts.
        """
        self.begin(name for name, state in known.items() if state.startswith(_OPEN))

    def marked(self, states: States) -> dict[TableName, str]:
        """
        Return states, those of tables that are not settled marked.
        """
        if self._until:
            oldest = self._look().xmin
            self._until = {name: until for name, until in self._until.items() if until > oldest}
        return {name: f"{_OPEN}{state}" if name in self._until else state for name, state in states.items()}
