"""
XA transactions: their rows are logged when they are prepared, and whether they hold is said later, by `XA COMMIT` or `XA ROLLBACK`.

Nothing is kept but the place where each was prepared, in a file: when `XA COMMIT` comes the stream reads the rows there once more.
So memory does not grow with them, positions move on while one is undecided, and a restart in between loses nothing. A commit
whose place is not known, or no longer in the logs, is told as rows untold: a snapshot follows.
"""

from __future__ import annotations

import json
import re
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from fustor_core.state_file import write_state
from fustor_source_mysql.position import Boundary, boundary_of

Verb = Literal["start", "end", "commit", "rollback"]

_KEPT: Final = 10_000
_STATEMENT: Final = re.compile(
    r"XA\s+(?P<verb>START|END|COMMIT|ROLLBACK)\s+X'(?P<global>[0-9a-f]*)'\s*,\s*X'(?P<branch>[0-9a-f]*)'\s*,\s*(?P<format>\d+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class XaStatement:
    """
    What a statement says of an XA transaction.
    """

    verb: Verb
    xid: str


def read_xa(text: str) -> XaStatement | None:
    """
    Read `XA COMMIT X'6162',X'',1`; None when it is no such statement.
    """
    found = _STATEMENT.match(text.strip())
    if found is None:
        return None
    verb: Verb = found["verb"].lower()  # type: ignore[assignment]
    return XaStatement(verb, f"{found['global']},{found['branch']},{found['format']}".lower())


def read_prepare(body: bytes) -> tuple[bool, str]:
    """
    Read the event that ends the rows of a prepared transaction: whether it is committed by that, and its xid.
    """
    one_phase, number, first, second = struct.unpack_from("<BIII", body)
    data = body[13 : 13 + first + second]
    return bool(one_phase), f"{data[:first].hex()},{data[first:].hex()},{number}"


class PreparedPlaces:
    """
    Where transactions were prepared. Safe from every thread.

    Args:
        folder: The driver's own folder.
        history: Which history of the logs the places belong to; those of another mean nothing.
    """

    def __init__(self, folder: Path, history: str) -> None:
        self._file = folder / "prepared.json"
        self._lock = threading.Lock()
        self.history = history
        self._places: dict[tuple[str, int], bool] = {}
        try:
            known = json.loads(self._file.read_text())
            if known["history"] == history:
                self._places = {(str(xid), int(index)): bool(has_rows) for xid, index, has_rows in known["places"]}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError):
            self._places = {}  # damaged: commits of what was prepared are told as rows untold

    def note(self, xid: str, place: Boundary, *, has_rows: bool) -> None:
        """
        Take note of a prepared transaction; on disk when this returns.

        Raises:
            ConfigError: The file can't be written.
        """
        with self._lock:
            known = (xid, place.index)
            if self._places.get(known) == has_rows:
                return
            self._places[known] = has_rows
            for old in sorted(self._places, key=lambda one: one[1])[:-_KEPT]:
                del self._places[old]
            self._save()

    def find(self, xid: str, before: Boundary) -> tuple[Boundary, bool] | None:
        """
        Return where a transaction that is decided at a place was prepared, and whether it has rows that are wanted.
        """
        with self._lock:
            found = [index for known, index in self._places if known == xid and index < before.index]
            if not found:
                return None
            return boundary_of(max(found)), self._places[xid, max(found)]

    def _save(self) -> None:
        places = [[xid, index, has_rows] for (xid, index), has_rows in self._places.items()]
        write_state(self._file, {"history": self.history, "places": places})
