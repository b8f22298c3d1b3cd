"""
Schemathesis against the OpenAPI documents of the running services: whatever it sends, no answer is a fault of ours (5xx), every status is
declared, every body is what the document says, and what the document forbids is refused.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from harness.stack import AGENT_TOKEN, Service, Stack, wait_for

from fustor_client import AgentClient, RegistryClient
from fustor_client.models import Policy

pytestmark = pytest.mark.timeout(900)

PASSWORD = "a password of these tests"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)
ENDLESS = "/views/live$|/follow$"
# The explorer's own: it learns the login's id from the list. Explored without a login.
ENDS_THE_LOGIN = r"/api/v1/logout$|/api/v1/users/me/logins/\{login_id\}$"


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """
    All three services with a small tree in them.
    """
    tree = tmp_path / "tree"
    for name in ("a/b", "c"):
        (tree / name).mkdir(parents=True)
        (tree / name / "file.txt").write_text("text")
    made = Stack(tmp_path / "stack", tree)
    try:
        made.start()
        wait_for("the tree is there", lambda: made.fusion_get("/views/fs/trees")["rows"])
        yield made
    finally:
        made.close()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Service]:
    """
    An agent that writes a small tree into a file.
    """
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "file.txt").write_text("text")
    service = Service("agent", tmp_path / "agent")
    service.folder.mkdir()
    out = {"driver": "echo", "endpoint": "file", "driver_params": {"file": str(tmp_path / "out.jsonl")}}
    config = {
        "sources": {"files": {"driver": "fs", "uri": str(tree), "disabled": False}},
        "pushers": {"out": {**out, "disabled": False}},
        "syncs": {"main": {"source": "files", "pusher": "out"}},
    }
    (service.folder / "agent-config.yaml").write_text(yaml.safe_dump(config))
    service.start()
    with AgentClient(service.url, AGENT_TOKEN) as client:
        wait_for("rows have arrived", lambda: client.instance("main").sent_rows)
    yield service
    service.stop()


ONE_USER = r"/api/v1/users/\{user_id\}"
"""
What an admin does to one user, perhaps to itself: the explorer learns its own id from the list. Explored last.
"""


def explore(url: str, folder: Path, headers: dict[str, str], left_out: str = ENDLESS, only: str = "") -> None:
    """
    Let it send what it thinks of; its own report is the message of a failure.
    """
    given = [f"--header={name}: {value}" for name, value in headers.items()]
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("st")),
            "run",
            f"{url}/openapi.json",
            *given,
            f"--include-path-regex={only}" if only else f"--exclude-path-regex={left_out}",
            "--phases=examples,coverage,fuzzing",
            f"--checks={','.join(CHECKS)}",
            "--max-examples=10",
            "--no-color",
            "--request-timeout=120",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    print(done.stdout[-4000:])  # the seed is among it
    assert done.returncode == 0, done.stdout + done.stderr


def test_fusion_is_what_its_document_says(stack: Stack, tmp_path: Path) -> None:
    explore(stack.fusion.url, tmp_path, {"X-API-Key": stack.key})


def test_the_agent_is_what_its_document_says(agent: Service, tmp_path: Path) -> None:
    explore(agent.url, tmp_path, {"Authorization": f"Bearer {AGENT_TOKEN}"})


def test_without_the_token_the_agent_is_what_its_document_says(agent: Service, tmp_path: Path) -> None:
    """
    What is refused is refused in the declared shape; health and metrics are open.
    """
    before = (agent.folder / "agent-config.yaml").read_text()
    explore(agent.url, tmp_path, {})
    assert (agent.folder / "agent-config.yaml").read_text() == before


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Service]:
    """
    A Registry whose limits on guesses do not end the exploration.
    """
    patient = {f"FUSTOR_REGISTRY_LOGIN_{name}": "1000000" for name in ("FAILURES", "FAILURES_OF_ADDRESS")}
    env = {"FUSTOR_REGISTRY_ADMIN_PASSWORD": PASSWORD, "FUSTOR_REGISTRY_ACCESS_TTL_S": "7200", **patient}
    service = Service("registry", tmp_path / "registry", env)
    try:
        service.start()
        yield service
    finally:
        service.kill()


@pytest.mark.parametrize("who", ["admin", "member", "anonymous"])
def test_the_registry_is_what_its_document_says(registry: Service, tmp_path: Path, who: str) -> None:
    """
    Whoever asks, there is something to be seen: a datastore with a member and a key.
    """
    if who == "anonymous":
        explore(registry.url, tmp_path, {})
        return
    with RegistryClient(registry.url) as admin, RegistryClient(registry.url) as caller:
        admin.login("admin", PASSWORD)
        explorer = admin.create_user("explorer", PASSWORD, role=who)
        with closing(sqlite3.connect(registry.folder / "registry.db")) as conn:
            # A number that nobody tries: an explorer that removes users would else end itself.
            conn.execute("UPDATE users SET id = 1234567 WHERE id = ?", (explorer.id,))
            conn.commit()
        lab = admin.create_datastore("lab", policy=Policy(retention_days=30))
        admin.set_member(lab.id, explorer.name, "member")
        key = admin.create_key("agent", lab.id)
        token = caller.login(explorer.name, PASSWORD).token
        header = {"Authorization": f"Bearer {token}"}
        explore(registry.url, tmp_path, header, f"{ENDS_THE_LOGIN}|{ONE_USER}" if who == "admin" else ENDS_THE_LOGIN)
        assert caller.me().role == who, "it was logged in all the time"
        listed = caller.keys()
        assert key.id in {one.id for one in listed}
        if who == "admin":
            explore(registry.url, tmp_path, header, only=ONE_USER)
