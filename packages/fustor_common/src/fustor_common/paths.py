"""
Where services keep their files: everything lies below the config root.

The config root itself is `fustor_core.drivers.config_root()` (`FUSTOR_CONFIG_DIR`, by default `~/.fustor`).
"""

from __future__ import annotations

from pathlib import Path

from fustor_core.drivers import config_root
from fustor_core.errors import ConfigError


def log_file(service: str, root: Path | None = None) -> Path:
    """
    Return the log of a service, `fustor_<service>.log`.
    """
    return (root or config_root()) / f"fustor_{service}.log"


def pid_file(service: str, root: Path | None = None) -> Path:
    """
    Return the file that says which process runs a service, `fustor_<service>.pid`.
    """
    return (root or config_root()) / f"fustor_{service}.pid"


def stderr_file(service: str, root: Path | None = None) -> Path:
    """
    Return where a service in the background writes what does not go through its log (a crash of the interpreter).
    """
    return (root or config_root()) / f"fustor_{service}.stderr"


def state_dir(root: Path | None = None) -> Path:
    """
    Return the folder of durable state that is neither configuration nor log.
    """
    return (root or config_root()) / "state"


def ensure_dir(path: Path) -> Path:
    """
    Create a folder (and those above it) that only its owner may read, and return it.

    Raises:
        ConfigError: It can't be created, or is not a folder.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as exc:
        raise ConfigError(
            f"the folder {str(path)!r} can't be created: {exc.strerror or exc}",
            hint="make it writable for this user, or set FUSTOR_CONFIG_DIR to a folder that is",
            context={"path": str(path)},
        ) from exc
    return path
