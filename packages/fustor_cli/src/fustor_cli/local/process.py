"""
Processes named so that a number used again by another process is not taken for the old one.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import msgspec


class ProcessName(msgspec.Struct, frozen=True):
    """
    A process: its number and when it was started (clock ticks since the machine's start).
    """

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> ProcessName | None:
        """
        Return the name of a process that runs now, None when there is none (a zombie counts as none).
        """
        try:
            text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = text.rpartition(")")[2].split()  # the name of the program may hold blanks and brackets
        return None if fields[0] in {"Z", "X"} else cls(pid, fields[19])

    def is_alive(self) -> bool:
        """
        Tell whether this very process still runs.
        """
        return ProcessName.of(self.pid) == self

    def signal(self, number: signal.Signals) -> None:
        """
        Send a signal, when the process still runs.
        """
        if self.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> bool:
        """
        Wait for the end of the process; tell whether it has ended.
        """
        end = time.monotonic() + timeout_s
        while self.is_alive():
            if time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def end(self, grace_s: float) -> bool:
        """
        Ask the process to end, and kill it when it has not after `grace_s` seconds. Tells whether it ended by itself.
        """
        self.signal(signal.SIGTERM)
        if self.wait(grace_s):
            return True
        self.signal(signal.SIGKILL)
        self.wait(5)
        return False
