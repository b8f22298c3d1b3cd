"""
What the driver remembers of the database over restarts: how its tables were when the stream last passed them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from fustor_core.errors import ConfigError


class Memory:
    """
    A small file.

    Args:
        folder: The driver's own folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "tables.json"

    def load(self, identity: str) -> dict[str, str] | None:
        """
        Return the states of tables; None when none are known of this server.
        """
        try:
            known = json.loads(self._file.read_text())
            if known["server"] != identity:
                return None
            return {str(name): str(state) for name, state in known["tables"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # none yet, or damaged: as if nothing were known

    def save(self, identity: str, tables: dict[str, str]) -> None:
        """
        Remember.

        Raises:
            ConfigError: The file can't be written.
        """
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            fresh = self._file.with_suffix(".new")
            with fresh.open("w") as out:
                json.dump({"server": identity, "tables": tables}, out)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(self._file)
        except OSError as exc:
            raise ConfigError(
                f"{str(self._file)!r} can't be written: {exc.strerror}",
                hint="make room, or set `driver_params: {state_dir: ...}` to a folder that can be written",
            ) from None
