"""
The conformance kit, run against real trees: one of flat files, and one where each row is a file in a folder of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from fustor_core.models.config import SourceConfig
from fustor_core.testing.source_contract import SourceConformance
from fustor_source_fs import FsDriver

JOURNAL = 40
"""
Changes that the journal keeps: more than a test of the kit sends, little enough to lose a position on demand.
"""


class TreeBench:
    """
    Rows are files; the folder they are in, and the root, are rows too.
    """

    def __init__(self, base: Path, *, nested: bool, params: dict[str, Any]) -> None:
        self.root = base / "tree"
        self.root.mkdir()
        self.nested = nested
        self.params = {"state_dir": str(base / "state"), "journal_entries": JOURNAL, **params}
        self.made: list[FsDriver] = []

    def _file(self, n: int) -> Path:
        return self.root / (f"folder {n % 5}/deeper/{n}.txt" if self.nested else f"{n}.txt")

    def make_driver(self) -> FsDriver:
        made = FsDriver("tree", SourceConfig(driver="fs", uri=self.root.as_uri(), driver_params=self.params))
        self.made.append(made)
        return made

    def write(self, n: int, version: int) -> None:
        where = self._file(n)
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text("v" * version)

    def delete(self, n: int) -> None:
        self._file(n).unlink(missing_ok=True)

    def rows(self) -> dict[Hashable, Mapping[str, Any]]:
        found: dict[Hashable, Mapping[str, Any]] = {"": self._columns(self.root)}
        for folder, dirs, files in os.walk(self.root):
            for name in dirs + files:
                where = Path(folder, name)
                found[str(where.relative_to(self.root))] = self._columns(where)
        return found

    @staticmethod
    def _columns(where: Path) -> dict[str, Any]:
        st = where.lstat()
        return {
            "size": st.st_size if where.is_file() else 0,
            "mtime": st.st_mtime_ns,
            "ctime": st.st_ctime_ns,
            "mode": st.st_mode,
            "inode": st.st_ino,
        }

    def lose_position(self) -> bool:
        """
        More is sent than the journal keeps.
        """
        driver = self.made[-1]
        stop = threading.Event()
        iterator, _ = driver.get_message_iterator(-1, stop_event=stop)
        for n in range(2 * JOURNAL):
            self.write(1000 + n, 1)
        high = driver.high_watermark()
        assert high is not None
        while next(iterator).index < high:
            pass
        stop.set()
        return True


class _OnTree(SourceConformance):
    nested = False
    params: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def bench(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TreeBench:
        monkeypatch.setenv("FUSTOR_CONFIG_DIR", str(tmp_path / "config"))
        return TreeBench(tmp_path, nested=self.nested, params=self.params)


class TestFlatTree(_OnTree):
    """
    All files in the root.
    """


class TestNestedTree(_OnTree):
    """
    Folders two deep, made together with their first file.
    """

    nested = True


class TestPolledTree(_OnTree):
    """
    Too few watches for all folders: the rest is compared often.
    """

    nested = True
    params: ClassVar[dict[str, Any]] = {"max_watches": 2, "poll_interval_s": 0.05}
