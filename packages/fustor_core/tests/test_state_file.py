"""
Files of a driver's own: replaced as a whole, and said when that can't be.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fustor_core.errors import ConfigError
from fustor_core.state_file import write_state


def test_the_content_is_replaced_and_nothing_else_stays(tmp_path: Path) -> None:
    """
    A file is the newest content alone, in a folder made when it is needed.
    """
    file = tmp_path / "sources" / "db" / "tables.json"
    write_state(file, {"a": 1})
    write_state(file, {"b": [2]})
    assert json.loads(file.read_text()) == {"b": [2]}
    assert [one.name for one in file.parent.iterdir()] == ["tables.json"]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """
    The error names the file and what to do.
    """
    (tmp_path / "sources").write_text("no folder")
    with pytest.raises(ConfigError, match=r"tables\.json") as said:
        write_state(tmp_path / "sources" / "tables.json", {})
    assert "state_dir" in said.value.hint
