"""
What the driver remembers over restarts of rows whose large values are still to be read.
"""

from __future__ import annotations

import json
from pathlib import Path

from fustor_core.errors import ConfigError
from fustor_core.state_file import write_state
from fustor_source_postgres.unfilled import Saved


class Memory:
    """
    A small file.

    Args:
        folder: The driver's own folder.
    """

    def __init__(self, folder: Path) -> None:
        self._unfilled_file = folder / "unfilled.json"

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
        write_state(self._unfilled_file, {"server": identity, "rows": rows})
