"""
Small files in which a driver remembers what it knows of its source: the old content or the new one, whatever happens.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from fustor_core.errors import ConfigError


def write_state(file: Path, content: dict[str, Any]) -> None:
    """
    Write JSON into a file of a driver's `state_dir`; on disk when this returns.

    Raises:
        ConfigError: The file can't be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        with fresh.open("w") as out:
            json.dump(content, out)
            out.flush()
            os.fsync(out.fileno())
        fresh.replace(file)
        folder = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name, too
        finally:
            os.close(folder)
    except OSError as exc:
        raise ConfigError(
            f"{str(file)!r} can't be written: {exc.strerror}",
            hint="make room, or set `driver_params: {state_dir: ...}` to a folder that can be written",
        ) from None
