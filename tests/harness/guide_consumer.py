"""
The consumer of the guide, run as its reader would.
"""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx

from harness.stack import end_with_parent, free_port, wait_for

GUIDE = Path(__file__).resolve().parents[2] / "docs/how-to/send-to-your-own-service.md"


class Consumer:
    """
    The guide's consumer in a process of its own.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text("utf-8"), re.DOTALL)
        (folder / "consumer.py").write_text(code)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """
        Start it and wait until it answers.
        """
        with (self.folder / "out").open("ab") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", "consumer:app", "--port", str(self.port), "--no-access-log"],
                cwd=self.folder,
                stdout=out,
                stderr=out,
                preexec_fn=end_with_parent,
            )
        wait_for("the consumer answers", self._answers, on_timeout=(self.folder / "out").read_text)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/openapi.json").is_success
        except httpx.TransportError:
            return False  # not listening yet

    def kill(self) -> None:
        """
        Kill it.
        """
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> None:
        """
        End it in good order.
        """
        if self.process is not None:
            self.process.terminate()
            self.process.wait(30)

    def documents(self) -> list[str]:
        """
        Return the rows it holds, as JSON.
        """
        with sqlite3.connect(self.folder / "received.db") as store:
            return [row[0] for row in store.execute("SELECT doc FROM row")]
