"""
The commands about the configuration while an agent runs: it is asked, and told to follow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from harness.stack import AGENT_TOKEN, Service
from typer.testing import CliRunner

from fustor_agent.cli import main
from fustor_client import AgentClient


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    tree = tmp_path / "tree"
    tree.mkdir()
    service = Service("agent", tmp_path / "agent")
    service.folder.mkdir()
    config = {
        "sources": {"files": {"driver": "fs", "uri": str(tree), "disabled": False}},
        "pushers": {"out": {"driver": "echo", "endpoint": "file", "disabled": False}},
        "syncs": {"main": {"source": "files", "pusher": "out"}},
    }
    (service.folder / "agent-config.yaml").write_text(yaml.safe_dump(config))
    service.start()
    monkeypatch.setenv("FUSTOR_CONFIG_DIR", str(service.folder))
    monkeypatch.setenv("FUSTOR_AGENT_API_TOKEN", AGENT_TOKEN)
    yield service
    service.stop()


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, arguments)
    return done.exit_code, done.stdout, done.stderr


def test_the_running_agent_is_asked_and_told(agent: Service) -> None:
    file = agent.folder / "agent-config.yaml"
    good = file.read_text()
    file.write_text(good.replace("main:", "other:"))
    assert run("apply") == (0, "started: other\nstopped: main\n", "")
    assert json.loads(run("apply", "--json")[1])["restarted"] == []
    assert [row["id"] for row in json.loads(run("revisions", "--json")[1])["rows"]] == [2, 1]
    found = json.loads(run("diff", "2", "--json")[1])
    assert {(one["key"], one["change"]) for one in found["changes"]} == {
        ("syncs.main", "removed"),
        ("syncs.other", "added"),
    }
    assert run("rollback", "1", "--apply")[0] == 0 and file.read_text() == good
    with AgentClient(agent.url, AGENT_TOKEN) as client:
        assert [sync.id for sync in client.instances().syncs] == ["main"]
    file.write_text(good.replace("driver: fs", "driver: sf").replace("driver: echo", "driver: ehco"))
    code, _, said = run("apply")
    assert code == 1 and "nothing was applied" in said
    assert said.count("is installed") == 2, "each problem is told once"


def test_a_wrong_token_is_told(agent: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSTOR_AGENT_API_TOKEN", "another-token-altogether")
    code, _, said = run("revisions")
    assert code == 1 and "the token is wrong" in said
