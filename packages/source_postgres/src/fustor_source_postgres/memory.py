"""
What the driver remembers of the database over restarts: how its tables were when the stream last passed them, and which rows
have large values to be read.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fustor_core.errors import ConfigError
from fustor_source_postgres.unfilled import Saved


class Memory:
    """
    Two small files.

    Args:
        folder: The driver's own folder.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "tables.json"
        self._unfilled_file = folder / "unfilled.json"

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
        self._write(self._file, {"server": identity, "tables": tables})

    def load_unfilled(self, identity: str) -> Saved:
        """
        Return the rows whose large values were to be read; none when they were another server's.
        """
        try:
            known = json.loads(self._unfilled_file.read_text())
            return list(known["rows"]) if known["server"] == identity else []
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError) as exc:
            raise ConfigError(
                f"{str(self._unfilled_file)!r} can't be read: {exc}",
                hint="remove it, start the sync again, and ask for a snapshot",
            ) from None

    def save_unfilled(self, identity: str, rows: Saved) -> None:
        """
        Remember them.

        Raises:
            ConfigError: The file can't be written.
        """
        self._write(self._unfilled_file, {"server": identity, "rows": rows})

    def _write(self, file: Path, content: dict[str, Any]) -> None:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            fresh = file.with_suffix(".new")
            with fresh.open("w") as out:
                json.dump(content, out)
                out.flush()
                os.fsync(out.fileno())
            fresh.replace(file)
        except OSError as exc:
            raise ConfigError(
                f"{str(file)!r} can't be written: {exc.strerror}",
                hint="make room, or set `driver_params: {state_dir: ...}` to a folder that can be written",
            ) from None
