"""
What goes wrong on the way is answered clearly, and nothing is lost or half done.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from harness.stack import Service, Stack, wait_for
from harness.trees import RandomWork, make_tree, wait_equal

pytestmark = pytest.mark.timeout(600)  # past every wait below, so that a failed wait is what is reported

SMALL_DISK_KIB = 1536
AWAY_SECONDS = float(os.environ.get("FUSTOR_AWAY_SECONDS", "0"))


def error_of(answer: httpx.Response) -> dict[str, Any]:
    """
    Check that an answer has the one shape of errors, and return it.
    """
    body: dict[str, Any] = answer.json()
    assert set(body) == {"code", "message", "hint", "context"}, answer.text
    assert body["code"]
    assert body["message"]
    return body


def open_session(stack: Stack, task: str = "by-hand") -> dict[str, Any]:
    answer = stack.http.post(
        f"{stack.fusion.url}/ingestor-api/v1/sessions/",
        json={"task_id": task, "agent_id": "test"},
        headers={"X-API-Key": stack.key},
    )
    assert answer.status_code == 200, answer.text
    session: dict[str, Any] = answer.json()
    return session


def file_event(path: str, index: int) -> dict[str, Any]:
    row = {"path": path, "name": path, "parent": "", "type": "file", "size": 1, "mtime": 1, "ctime": 1}
    row |= {"mode": 33188, "uid": 0, "gid": 0, "inode": index, "target": None}
    return {
        "event_type": "insert",
        "event_schema": "file:///by-hand",
        "table": "files",
        "fields": list(row),
        "rows": [list(row.values())],
        "key": ["path"],
        "index": index,
    }


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """
    Registry and Fusion, without an agent: for all tests that only ask them. Each starts where others may have been before.
    """
    folder: Path = tmp_path_factory.mktemp("services")
    stack = Stack(folder / "stack", folder / "tree")
    stack.registry.start()
    stack.key = stack.provision("tree")
    stack.fusion.start()
    yield stack
    stack.close()


@pytest.mark.parametrize("key", [None, "", "wrong", "fk_" + "0" * 40])
def test_a_wrong_key_gets_401_with_a_hint(services: Stack, key: str | None) -> None:
    """
    Ingest and views refuse a missing or unknown key, say what to do, and do not repeat the key.
    """
    headers = {} if key is None else {"X-API-Key": key}
    for method, path in (
        ("POST", "/ingestor-api/v1/sessions/"),
        ("POST", "/ingestor-api/v1/events/"),
        ("GET", "/views/fs/trees"),
        ("GET", "/views/tables"),
    ):
        answer = services.http.request(
            method, f"{services.fusion.url}{path}", headers=headers, json={"task_id": "t"} if method == "POST" else None
        )
        assert answer.status_code == 401, (path, answer.text)
        assert error_of(answer)["hint"]
        assert not key or key not in answer.text


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"{}", "application/json"),
        (b"\xc1\xff\x00", "application/msgpack"),
        (b'{"session_id": "S", "events": [{"event_type": "upsert"}], "source_type": "message"}', "application/json"),
        (b'{"session_id": "S", "events": [], "source_type": "something"}', "application/json"),
    ],
)
def test_a_malformed_envelope_is_refused_whole(services: Stack, body: bytes, content_type: str) -> None:
    """
    What can't be read is answered with 4xx and the one shape of errors.
    """
    session = open_session(services)
    body = body.replace(b'"S"', f'"{session["session_id"]}"'.encode())
    answer = services.http.post(
        f"{services.fusion.url}/ingestor-api/v1/events/",
        content=body,
        headers={"X-API-Key": services.key, "Content-Type": content_type},
    )
    assert 400 <= answer.status_code < 500, answer.text
    error_of(answer)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_that_is_not_what_it_says_is_refused(services: Stack, encoding: str) -> None:
    """
    A body that can't be decompressed is the sender's mistake: 4xx, not 5xx.
    """
    headers = {"X-API-Key": services.key, "Content-Type": "application/json", "Content-Encoding": encoding}
    answer = services.http.post(
        f"{services.fusion.url}/ingestor-api/v1/events/", content=b"not compressed", headers=headers
    )
    assert 400 <= answer.status_code < 500, answer.text
    error_of(answer)


def test_of_a_push_with_one_bad_event_nothing_is_applied(services: Stack) -> None:
    """
    A good event beside a bad one is not stored: a push is taken whole or not at all.
    """
    session = open_session(services)
    bad = file_event("bad", 2) | {"rows": [["too", "short"]]}
    body = {
        "session_id": session["session_id"],
        "source_type": "message",
        "task_id": "by-hand",
        "epoch": 0,
        "events": [file_event("good", 1), bad],
    }
    answer = services.http.post(
        f"{services.fusion.url}/ingestor-api/v1/events/", json=body, headers={"X-API-Key": services.key}
    )
    assert 400 <= answer.status_code < 500, answer.text
    error_of(answer)
    found = services.http.get(
        f"{services.fusion.url}/views/fs/search", params={"q": "good"}, headers={"X-API-Key": services.key}
    )
    assert found.status_code != 200 or found.json()["rows"] == []


def test_an_oversized_envelope_gets_413(make_stack: Callable[..., Stack]) -> None:
    """
    A body past the limit is refused with 413, compressed or not, and Fusion stays well.
    """
    stack = make_stack(fusion_env={"FUSTOR_FUSION_MAX_BODY_BYTES": "65536"})
    stack.registry.start()
    stack.key = stack.provision("tree")
    stack.fusion.start()
    session = open_session(stack)
    body = {"session_id": session["session_id"], "source_type": "message", "events": [file_event("x" * 200_000, 1)]}
    answer = stack.http.post(f"{stack.fusion.url}/ingestor-api/v1/events/", json=body, headers={"X-API-Key": stack.key})
    assert answer.status_code == 413, answer.text
    assert error_of(answer)["hint"]
    assert stack.http.get(f"{stack.fusion.url}/health/ready").status_code == 200


def test_an_unknown_session_is_told_to_open_a_new_one(services: Stack) -> None:
    """
    A push in a session that Fusion does not know tells the agent to open a new one.
    """
    body = {"session_id": "no-such-session", "source_type": "message", "events": []}
    answer = services.http.post(
        f"{services.fusion.url}/ingestor-api/v1/events/", json=body, headers={"X-API-Key": services.key}
    )
    assert answer.status_code in {404, 419}, answer.text  # the agent opens a new session on either
    assert error_of(answer)["hint"]


def test_a_key_of_one_datastore_sees_nothing_of_another(services: Stack) -> None:
    """
    What one key wrote is not in the answers to another datastore's key.
    """
    session = open_session(services)
    body = {
        "session_id": session["session_id"],
        "source_type": "message",
        "task_id": "by-hand",
        "epoch": 0,
        "events": [file_event("mine", 1)],
    }
    answer = services.http.post(
        f"{services.fusion.url}/ingestor-api/v1/events/", json=body, headers={"X-API-Key": services.key}
    )
    assert answer.status_code == 200, answer.text
    other = services.provision("other")
    trees = services.http.get(f"{services.fusion.url}/views/fs/trees", headers={"X-API-Key": other})
    assert trees.json()["rows"] == []
    assert len(services.fusion_get("/views/fs/trees")["rows"]) == 1


def test_a_path_that_does_not_exist_is_said_clearly(stack: Stack) -> None:
    """
    The sync names the path and what to do; the agent itself goes on; and once the path is there, so is the tree.
    """
    stack.registry.start()
    stack.key = stack.provision("tree")
    stack.fusion.start()
    later = stack.folder.parent / "later"
    stack.write_agent_config(tree=later)
    stack.agent.start()

    def complains() -> bool:
        status = stack.sync_status()
        return str(later) in (status["reason"] or "") and bool(status["hint"])

    wait_for("the sync names the path", complains, on_timeout=stack.tails)
    make_tree(later, 50)
    wait_equal(stack, later)


def test_a_wrong_key_stops_the_sync_with_a_reason(stack: Stack) -> None:
    """
    The agent does not hammer Fusion with a key that is refused; the sync says what is wrong and what to do.
    """
    stack.registry.start()
    stack.key = stack.provision("tree")
    stack.fusion.start()
    stack.write_agent_config(key="wrong-key-of-this-test")
    stack.agent.start()
    wait_for(
        "the sync is in state ERROR", lambda: "ERROR" in str(stack.sync_status()["states"]), on_timeout=stack.tails
    )
    status = stack.sync_status()
    assert status["reason"]
    assert status["hint"]
    assert "wrong-key-of-this-test" not in str(status) + stack.agent.tail(1000)


def test_two_agents_with_the_same_sync(stack: Stack) -> None:
    """
    The second agent is told who holds the sync, and the first goes on undisturbed.
    """
    make_tree(stack.tree, 200)
    stack.start()
    stack.wait_snapshot_ended()
    second = Service("agent", stack.folder / "agent2")
    try:
        stack.write_agent_config(service=second)
        second.start()
        wait_for("the second agent says why", lambda: stack.sync_status(second)["reason"], on_timeout=second.tail)
        assert stack.sync_status(second)["hint"]
        (stack.tree / "after").write_text("the first agent still works")
        wait_equal(stack)
        assert "MESSAGE_SYNC" in str(stack.sync_status()["states"])
    finally:
        second.kill()


@pytest.mark.timeout(600 + AWAY_SECONDS)
def test_fusion_away_while_much_changes(stack: Stack) -> None:
    """
    With Fusion gone and heavy change the agent's memory stays bounded, and all is right when Fusion is back.

    `FUSTOR_AWAY_SECONDS` makes it last longer.
    """
    make_tree(stack.tree, 5000)
    stack.start()
    stack.wait_snapshot_ended()
    wait_equal(stack)
    assert stack.agent.process is not None
    agent = psutil.Process(stack.agent.process.pid)
    before = agent.memory_info().rss
    stack.fusion.kill()
    with RandomWork(stack.tree, seed=7, threads=3, pause_s=0.001) as work:
        until = time.monotonic() + AWAY_SECONDS
        wait_for(
            "much has changed",
            lambda: work.done > 10_000 and time.monotonic() > until,
            timeout_s=120 + AWAY_SECONDS,
        )
    for number in range(20_000):
        (stack.tree / f"burst-{number}").touch()
    after = agent.memory_info().rss
    print(
        f"agent RSS {before >> 20} MiB before, {after >> 20} MiB after {work.done} operations and 20,000 files without Fusion"
    )
    assert after - before < 100 << 20
    stack.fusion.start()
    wait_equal(stack, timeout_s=180)


def test_a_registry_that_is_down_does_not_stop_ingest(stack: Stack) -> None:
    """
    A key that Fusion knows goes on working while the Registry is away, over the life of its cache.
    """
    stack.start()
    stack.wait_snapshot_ended()
    stack.registry.kill()
    (stack.tree / "during").write_text("no registry")
    wait_equal(stack)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_makes_the_agent_wait_and_loses_nothing(stack: Stack) -> None:
    """
    With its disk full Fusion refuses with 503 and stays up, the agent waits; with room again everything arrives.
    """
    stack.fusion.folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_KIB}k", "tmpfs", str(stack.fusion.folder)], check=True
    )
    try:
        make_tree(stack.tree, 20_000)
        stack.start()

        def refused() -> bool:
            status = stack.sync_status()
            return bool(status["reason"]) and "full" in (str(status["reason"]) + str(status["hint"])).lower()

        wait_for("the sync says that the disk is full", refused, timeout_s=90, on_timeout=stack.tails)
        assert stack.fusion.process is not None
        assert stack.fusion.process.poll() is None, "Fusion ended"
        (stack.tree / "while-full").write_text("kept by the agent")
        subprocess.run(["mount", "-o", "remount,size=500m", str(stack.fusion.folder)], check=True)
        wait_equal(stack, timeout_s=120)
    finally:
        stack.close()
        subprocess.run(["umount", str(stack.fusion.folder)], check=True)


def test_a_root_that_is_deleted_and_made_again(stack: Stack) -> None:
    """
    A watched folder that goes and comes back is followed.
    """
    make_tree(stack.tree, 100)
    stack.start()
    stack.wait_snapshot_ended()
    wait_equal(stack)
    away = stack.tree.with_name("gone")
    Path(stack.tree).rename(away)
    make_tree(stack.tree, 60)
    wait_equal(stack, timeout_s=120)
