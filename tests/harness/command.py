"""
The `fustor` command as a person calls it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from harness.stack import free_port

SCRIPT = Path(sys.executable).with_name("fustor")
TIMEOUT_S = 240


class Command:
    """
    Calls the `fustor` command with an empty home and ports of its own.
    """

    def __init__(self, home: Path) -> None:
        self.env = {name: value for name, value in os.environ.items() if not name.startswith("FUSTOR_")}
        self.env |= {"HOME": str(home), "FUSTOR_CONFIG_DIR": str(home / "config"), "COLUMNS": "160"}
        self.env |= {f"FUSTOR_{name}_PORT": str(free_port()) for name in ("AGENT", "REGISTRY", "FUSION")}

    def __call__(self, *arguments: str) -> str:
        done = self._run(arguments)
        assert done.returncode == 0, f"fustor {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def fails(self, *arguments: str) -> str:
        """
        Call it, see that it fails, and return what it says.
        """
        done = self._run(arguments)
        assert done.returncode == 1, f"fustor {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stderr

    def _run(self, arguments: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(SCRIPT), *arguments], env=self.env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
