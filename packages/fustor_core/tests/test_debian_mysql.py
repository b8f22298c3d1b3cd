"""
Fetching MySQL for tests: signatures are checked, what is there is taken, and failures say what to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fustor_core.testing import debian_mysql
from fustor_core.testing.private_server import BinaryMissing


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """
    An empty cache on a machine without MySQL.
    """
    monkeypatch.setattr(debian_mysql, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(debian_mysql, "_is_mariadb", lambda program: True)
    return tmp_path / "cache"


def test_what_is_there_is_taken_without_asking_anybody(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = folder / "root"
    for name in ("usr/sbin/mysqld", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"):
        (root / name).parent.mkdir(parents=True)
        (root / name).touch()

    def refuse(*args: Any) -> str:
        raise AssertionError("nothing is to be run")

    monkeypatch.setattr(debian_mysql, "_run", refuse)
    found = debian_mysql.find_mysqld()
    assert found.command[-1] == str(root / "usr/sbin/mysqld")
    assert found.plugins == root / "usr/lib/mysql/plugin"


def test_what_debian_did_not_sign_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = tmp_path / "mirror/dists/sid"
    release.mkdir(parents=True)
    (release / "Release").write_text("Origin: Debian\nSuite: unstable\nCodename: sid\nComponents: main\n")
    monkeypatch.setattr(debian_mysql, "mirror", lambda: f"file:{tmp_path}/mirror")
    with pytest.raises(BinaryMissing, match=r"(?s)reading what file:.* failed.*not signed"):
        debian_mysql.find_mysqld()
    assert [one.name for one in folder.iterdir()] == ["lock"], "nothing is left behind"


def test_a_mirror_that_can_not_be_reached_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian_mysql, "mirror", lambda: "http://127.0.0.1:1/debian")
    with pytest.raises(BinaryMissing, match=r"(?s)reading what http://127.0.0.1:1/debian has in sid failed.*mend that"):
        debian_mysql.find_mysqld()


def test_a_damaged_folder_is_said(folder: Path) -> None:
    (folder / "root").mkdir(parents=True)
    with pytest.raises(BinaryMissing, match="does not hold a MySQL server; remove"):
        debian_mysql.find_mysqld()
