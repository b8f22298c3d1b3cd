"""
Which history the server's logs belong to. Files are counted from 1 again after RESET MASTER (or a restored server), so that an old
position may name a place that means something else now. What is remembered of each file, the second it was begun, tells.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from fustor_core.state_file import write_state

_KEPT = 64


class Lineage:
    """
    What is remembered of one server's logs, in a file.

    Args:
        folder: The driver's own folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "binlogs.json"
        self.server = ""
        self.id = ""
        self._begun: dict[int, int] = {}
        try:
            known = json.loads(self._file.read_text())
            self.server, self.id = str(known["server"]), str(known["lineage"])
            self._begun = {int(number): int(at) for number, at in known["begun"].items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            self.server = self.id = ""  # damaged: a new history begins, and a snapshot fills the gap
            self._begun = {}

    def adopt(self, server: str) -> None:
        """
        Say which server this is; another one than before begins a new history.
        """
        if server != self.server or not self.id:
            self.server = server
            self.begin_anew()

    def begin_anew(self) -> None:
        """
        Positions of before mean nothing any more.
        """
        self.id = uuid.uuid4().hex[:12]
        self._begun = {}
        self._save()

    def fits(self, number: int, begun: int) -> bool:
        """
        Take note of when a file was begun (epoch seconds); False when it was another time than remembered.
        """
        known = self._begun.get(number)
        if known is None:
            self._begun[number] = begun
            for old in sorted(self._begun)[:-_KEPT]:
                del self._begun[old]
            self._save()
        return known is None or known == begun

    @property
    def name(self) -> str:
        """
        Name the history: what positions compare within.
        """
        return f"{self.server}/{self.id}"

    def _save(self) -> None:
        write_state(self._file, {"server": self.server, "lineage": self.id, "begun": self._begun})
