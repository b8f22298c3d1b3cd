"""
The commands about the configuration, without a running agent: they read and write its folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from fustor_agent.cli import main
from fustor_agent.configs import Configs
from fustor_agent.database import AgentDatabase
from fustor_agent.revisions import Revisions

SYNC = {"source": "files", "pusher": "out"}


@pytest.fixture
def config(settings: Any, tmp_path: Path) -> Path:
    """
    A configuration of installed drivers, with two revisions.
    """
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a").write_text("a")
    path: Path = settings.config_dir / "agent-config.yaml"
    content = {
        "sources": {"files": {"driver": "fs", "uri": str(tree), "disabled": False}},
        "pushers": {"out": {"driver": "echo", "endpoint": "file", "credential": {"key": "very-secret"}}},
        "syncs": {"main": SYNC},
    }
    path.write_text(yaml.safe_dump(content))
    db = AgentDatabase(settings.config_dir)
    configs = Configs(settings.config_dir, Revisions(db))
    configs.reload("found at start")
    configs.put("syncs", "more", {**SYNC, "transforms": [{"type": "drop", "fields": ["inode"]}]})
    db.close()
    return path


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, arguments)
    assert "very-secret" not in done.output and "Traceback" not in done.output
    return done.exit_code, done.stdout, done.stderr


def test_revisions_are_listed_compared_and_gone_back_to(config: Path) -> None:
    code, listed, _ = run("revisions", "--json")
    assert code == 0 and [row["reason"] for row in json.loads(listed)["rows"]] == ["added syncs.more", "found at start"]
    assert run("revisions", "--limit", "1")[1].split()[3:] == ["added", "syncs.more"]
    assert "+  more:" in run("diff", "2")[1]
    assert json.loads(run("diff", "2", "1", "--json")[1])["changes"][0]["key"] == "syncs.more"
    code, said, _ = run("rollback", "1")
    assert code == 0 and "revision 1" in said and "more" not in yaml.safe_load(config.read_text())["syncs"]
    code, _, said = run("diff", "77")
    assert code == 1 and said.startswith("fustor-agent: no revision 77")
    assert json.loads(run("rollback", "77", "--json")[1])["code"] == "request.not_found"


def test_what_is_wrong_is_told_and_the_schema_written(config: Path) -> None:
    assert run("check") == (0, f"{config}: no problems\n", "")
    config.write_text(config.read_text().replace("driver: fs", "driver: sf"))
    code, said, _ = run("check")
    assert code == 1 and "`sources.files.driver`" in said and f"{config}:" in said
    assert json.loads(run("check", "--json")[1])["problems"][0]["where"] == "sources.files.driver"
    assert run("check", str(config.with_name("absent.yaml")))[0] == 1
    assert json.loads(run("schema")[1])["type"] == "object"
    assert run("schema", "--write")[0] == 0 and config.with_name("agent-config.schema.json").exists()


def test_apply_says_that_no_agent_runs(config: Path) -> None:
    code, _, said = run("apply")
    assert code == 1 and "no agent runs here" in said and "fustor-agent start -D" in said
    assert json.loads(run("apply", "--json")[1])["code"] == "request.state_conflict"


def test_transforms_are_shown_on_real_rows(config: Path) -> None:
    code, said, _ = run("preview", "more", "--json")
    [table] = json.loads(said)["tables"]
    assert code == 0 and "inode" in table["fields"] and "inode" not in table["becomes"]["fields"]
    assert "becomes:" in run("preview", "more", "--rows", "1")[1]
    code, _, said = run("preview", "moore")
    assert code == 1 and "there is no sync 'moore'" in said and "did you mean `more`?" in said
    config.write_text(config.read_text().replace("type: drop", "type: dropp"))
    code, said, _ = run("preview", "more", "--json")
    assert code == 1 and json.loads(said)["code"] == "config.invalid"
