"""
The watch beside the stream: a thread that tells the server somebody is here while the stream is not walked, and looks whether
tables have changed in ways that logical replication does not tell (new tables, columns, types, rewritten files, partitions).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from fustor_core.errors import FustorError
from fustor_source_postgres.stream import ReplicationStream

log = logging.getLogger(__name__)

States = Mapping[str, str]

_TICK_S: Final = 1.0
_LOOK_EVERY_S: Final = 2.0
_AT_MOST: Final = 0.05
"""
Largest part of the time that looking may take.
"""


class CatalogWatch:
    """
    Looks now and then.

    Args:
        stream: Kept alive, and told of changes.
        known: What the tables were when the stream was opened: name to `Table.state`.
        look: Asks what they are now.
    """

    def __init__(self, stream: ReplicationStream, known: States, look: Callable[[], States]) -> None:
        self._stream = stream
        self._known = known
        self._look = look
        self._stop = threading.Event()
        self._next = time.monotonic() + _LOOK_EVERY_S
        self._thread = threading.Thread(target=self._run, name="postgres-watch", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(_TICK_S) and not self._stream.closed:
            self._stream.keep_alive()
            if time.monotonic() < self._next:
                continue
            begun = time.monotonic()
            try:
                now = self._look()
            except FustorError as exc:
                log.info("looking at the tables failed: %s", exc)  # the stream finds out when the server is away
                now = self._known
            taken = time.monotonic() - begun
            self._next = time.monotonic() + max(_LOOK_EVERY_S, taken / _AT_MOST)
            if (what := difference(self._known, now)) and not self._stop.is_set():
                self._stream.fail_untold(what)
                return

    def close(self) -> None:
        """
        Stop looking. May be called twice.
        """
        self._stop.set()


def difference(before: States, after: States) -> str:
    """
    Say which tables are not what they were; "" when all are.
    """
    changed = sorted(name for name in before if after.get(name, "") not in ("", before[name]))
    parts = [
        ("new", sorted(set(after) - set(before))),
        ("gone", sorted(set(before) - set(after))),
        ("changed", changed),
    ]
    return "; ".join(
        f"{what}: {', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" for what, names in parts if names
    )
