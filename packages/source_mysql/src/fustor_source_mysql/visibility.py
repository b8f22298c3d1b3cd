"""
The visibility gate of MySQL: waits until all that the log holds up to a place can be seen by a read that begins now.

MySQL writes a transaction to its log before others can see it, and between the two may lie as long as a replica takes to answer
(semi-synchronous, AFTER_SYNC). From before it is written until after it can be seen, the transaction owns its GTID
(`gtid_owned`; the server gives it up behind the engine's commit, `MYSQL_BIN_LOG::process_commit_stage_queue`). So whatever is in
the log below a place, and can't be seen yet, owns its GTID when asked after the place; it can be seen, or was rolled back, when
it owns it no more. This needs no stream, and also covers what was under way when the stream began.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from fustor_core.errors import ConfigError, ConnectionLost
from fustor_source_mysql.control import Control
from fustor_source_mysql.position import Boundary

_PATIENCE_S: Final = 60.0
_LOOK_EVERY_S: Final = (0.001, 0.05)


class Gate:
    """
    Opens when the place it returns is a low watermark for a read that begins then.

    Args:
        control: For questions.
        stop: Ends the wait.
        patience_s: How long to wait for one transaction.
    """

    def __init__(self, control: Control, stop: threading.Event, patience_s: float = _PATIENCE_S) -> None:
        self._control = control
        self._stop = stop
        self._patience_s = patience_s
        self._has_gtids = False

    def open(self) -> Boundary:
        """
        Return the end of the log, once all before it can be seen.

        Raises:
            ConfigError: The server gives its transactions no GTIDs.
            ConnectionLost: A transaction took too long, or the snapshot is to end.
        """
        if not self._has_gtids:
            mode = self._control.variable("gtid_mode")
            if (mode or "").upper() != "ON":
                raise ConfigError(
                    f"gtid_mode is {mode}: MySQL without GTIDs does not tell which transactions a snapshot shows",
                    hint="let an administrator set gtid_mode = ON and enforce_gtid_consistency = ON, see docs/how-to/read-mariadb-or-mysql.md",
                )
            self._has_gtids = True
        _, low = self._control.newest()
        waited_for = self._owned()
        pause, longest = _LOOK_EVERY_S
        deadline = time.monotonic() + self._patience_s
        while waited_for:
            if self._stop.wait(pause):
                raise ConnectionLost("the snapshot was ended")
            if time.monotonic() > deadline:
                raise ConnectionLost(
                    f"{len(waited_for)} transactions at {self._control.server.address} can't be seen after "
                    f"{self._patience_s:.0f} s, such as {min(waited_for)}",
                    hint="a replica that does not answer (semi-synchronous), or a session that holds a GTID: "
                    "SELECT @@GLOBAL.gtid_owned; SHOW PROCESSLIST; the snapshot goes on when they have ended",
                )
            pause = min(pause * 2, longest)
            waited_for &= self._owned()
        return low

    def _owned(self) -> set[str]:
        return owned_of(str(self._control.query("SELECT @@GLOBAL.gtid_owned", "asking what can be seen")[0][0]))


def owned_of(text: str) -> set[str]:
    """
    Read `gtid_owned`: `uuid:5#12:7#13, uuid:tag:2#14` -> {uuid:5, uuid:7, uuid:tag:2}.
    """
    found = set()
    for group in text.split(","):
        source, *parts = group.strip().split(":")
        for part in parts:
            number, owner, _ = part.partition("#")
            if owner:
                found.add(f"{source}:{number}")
            else:
                source = f"{source.partition(':')[0]}:{part}"  # a tag: it holds for what follows
    return found
