"""
Where the local set keeps its files below the config root.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fustor_core.errors import ConfigError


@dataclass(frozen=True)
class Layout:
    """
    The files of one config root. Everything here is private to its owner.
    """

    root: Path

    @classmethod
    def here(cls) -> Layout:
        """
        Return the layout of the config root in effect (`FUSTOR_CONFIG_DIR`, by default `~/.fustor`).
        """
        # The rule of fustor_core.drivers.config_root, whose module would cost every query the import of pydantic.
        root = os.environ.get("FUSTOR_CONFIG_DIR")
        return cls((Path(root) if root else Path.home() / ".fustor").expanduser().absolute())

    @property
    def state(self) -> Path:
        """
        What `fustor up` remembers: ports, admin user, key, paths. Holds secrets.
        """
        return self.root / "fustor-up.json"

    @property
    def key_file(self) -> Path:
        """
        The API key that the agent's pusher reads.
        """
        return self.root / "secrets" / "fusion-api-key"

    def password_file(self, source: str) -> Path:
        """
        Return the file with the password of a source.
        """
        return self.key_file.parent / f"{source}.password"

    @property
    def run(self) -> Path:
        """
        Files that mean something only while services run.
        """
        return self.root / "run"

    @property
    def spec(self) -> Path:
        """
        Which services the supervisor is to run.
        """
        return self.run / "services.json"

    @property
    def board(self) -> Path:
        """
        What the supervisor says of itself and its services.
        """
        return self.run / "supervisor.json"

    @property
    def supervisor_lock(self) -> Path:
        """
        Locked by the supervisor as long as it lives.
        """
        return self.run / "supervisor.lock"

    @property
    def up_lock(self) -> Path:
        """
        Locked while one `fustor up` or `fustor down` changes things.
        """
        return self.run / "up.lock"

    @property
    def supervisor_log(self) -> Path:
        """
        What the supervisor itself prints.
        """
        return self.run / "supervisor.log"

    def output(self, service: str) -> Path:
        """
        Return the file that takes what a service prints.
        """
        return self.run / f"{service}.out"

    def log(self, service: str) -> Path:
        """
        Return the log that a service writes itself.
        """
        return self.root / f"fustor_{service}.log"

    def prepare(self) -> None:
        """
        Create the folders.

        Raises:
            ConfigError: They can't be created or written.
        """
        try:
            for folder in (self.root, self.run, self.key_file.parent):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.up_lock.touch(mode=0o600)
        except OSError as exc:
            raise ConfigError(
                f"the config root {str(self.root)!r} can't be written: {exc.strerror}",
                hint="make it writable for this user, or set FUSTOR_CONFIG_DIR to a folder that is",
                context={"path": str(self.root)},
            ) from exc
