"""
Both clients of the Agent's API against a real agent: every route is called, typed answers come back.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from harness.stack import AGENT_TOKEN, Service, wait_for

from fustor_client import AgentClient, AsyncAgentClient
from fustor_client.httpx_transport import HttpxTransport
from fustor_core.errors import NotFoundError, PreconditionFailed, StateConflictError, Unauthorized

NOWHERE = {"driver": "fusion", "endpoint": "http://127.0.0.1:1", "credential": {"key": "k"}, "disabled": False}
TRANSFORMS = [{"type": "filter", "where": "type == 'file'"}, {"type": "drop", "fields": ["inode"]}]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Service]:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("a", "b", "c"):
        (tree / name).write_text(name)
    service = Service("agent", tmp_path / "agent")
    service.folder.mkdir()
    config = {
        "sources": {"files": {"driver": "fs", "uri": str(tree), "disabled": False}},
        "pushers": {
            "out": {
                "driver": "echo",
                "endpoint": "file",
                "disabled": False,
                "driver_params": {"file": str(tmp_path / "out.jsonl")},
            }
        },
        "syncs": {"main": {"source": "files", "pusher": "out", "transforms": TRANSFORMS}},
    }
    (service.folder / "agent-config.yaml").write_text(yaml.safe_dump(config))
    service.start()
    yield service
    service.stop()


class Recording(HttpxTransport):
    """
    Notes what is asked.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url, 30.0)
        self.asked: set[tuple[str, str]] = set()

    def request(self, method: str, target: str, headers: Any, body: bytes | None) -> Any:
        self.asked.add((method, target.partition("?")[0]))
        return super().request(method, target, headers, body)

    def stream(self, target: str, headers: Any, idle_s: float) -> Iterator[str]:
        self.asked.add(("GET", target.partition("?")[0]))
        return super().stream(target, headers, idle_s)


def test_every_route_has_a_call_of_the_client(agent: Service, tmp_path: Path) -> None:
    transport = Recording(agent.url)
    with AgentClient(agent.url, AGENT_TOKEN, transport=transport) as client:
        wait_for("rows have arrived", lambda: client.instance("main").sent_rows >= 3)
        wait_for("all is quiet", lambda: client.instance("main").snapshot is None)
        [sync] = client.instances().syncs
        assert sync.id == "main" and "MESSAGE_SYNC" in sync.states and sync.pushed_rows >= sync.sent_rows
        assert sync.source_index is not None and sync.queue_fill == 0.0

        overview = client.overview()
        assert (overview.syncs, overview.health["live"], overview.failed) == (1, 1, []) and overview.host

        client.stop("main")
        assert client.instance("main").state == "STOPPED"
        client.start("main")
        wait_for("it runs again", lambda: "MESSAGE_SYNC" in client.instance("main").states)

        def is_taken() -> bool:
            try:
                client.take_snapshot("main", tables=["files"])
            except StateConflictError:
                return False  # it began with one
            return True

        wait_for("a snapshot is taken", is_taken)
        for call in (client.pause_snapshot, client.resume_snapshot, client.cancel_snapshot):
            try:
                assert call("main").id == "main"
            except StateConflictError:
                continue  # three files are read faster than one can ask

        assert client.config("syncs", "main") and client.config("syncs", "other") is None
        client.put_config("syncs", "other", {"source": "files", "pusher": "out", "disabled": True})
        assert client.apply().in_force
        assert client.delete_config("syncs", "other").entry is None
        assert client.apply().applied.stopped == ["other"]
        with pytest.raises(NotFoundError, match="'other'"):
            client.instance("other")

        use_configuration(client)

        [table] = client.preview(TRANSFORMS, source="files", rows=10).tables
        assert {row.outcome for row in table.rows} == {"sent", "filtered"} and table.key == ["path"]
        assert all("inode" not in row.after for row in table.rows if row.after)

        drivers = client.drivers()
        assert {"fs", "mysql", "postgres"} <= {driver.name for driver in drivers.sources}
        assert client.driver("sources", "postgres").actions[:2] == ["test_connection", "check_privileges"]
        assert client.wizard("sources", "fs").steps and client.wizard("pushers", "fusion").steps is not None
        assert client.test_driver("sources", "fs", uri=str(tmp_path / "tree")).ok
        assert not client.test_driver("sources", "fs", uri=str(tmp_path / "nowhere")).ok
        assert client.test_driver("pushers", "echo", endpoint="file").ok
        assert client.act("fs", "test_connection", uri=str(tmp_path / "tree")).check == "test_connection"
        assert "path" in str(client.fields("sources", "fs", uri=str(tmp_path / "tree")).properties)
        assert client.fields("pushers", "echo", endpoint="file").properties == {}
        assert client.tables("fs", uri=str(tmp_path / "tree")).rows == []
        assert [table.table for table in client.rows("fs", uri=str(tmp_path / "tree")).tables] == ["files"]

        page = client.logs(limit=1)
        assert page.next and client.logs(limit=1, before=page.next).rows != page.rows
        assert client.logs(text="is ready", component="fustor_common").rows
        follow_one_line(client)

        assert client.letters().rows == [] and client.letters().full is False
        for missing in (client.letter, client.replay, client.delete_letter):
            with pytest.raises(NotFoundError, match="dead letter"):
                missing(7)
        assert client.replay_all(sync="main").replayed == [] and client.delete_letters(sync="main") == 0

    document = httpx.get(f"{agent.url}/openapi.json").json()
    wanted = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method in methods
        if path.startswith("/api/")
    }
    patterns = {route: re.compile(re.sub(r"\{\w+\}", "[^/]+", route[1])) for route in wanted}
    missed = [
        route
        for route, pattern in patterns.items()
        if not any(method == route[0] and pattern.fullmatch(path) for method, path in transport.asked)
    ]
    assert not missed, f"no call of the client for {missed}"


def use_configuration(client: AgentClient) -> None:
    """
    Change the configuration in every way, and leave it as it was. Of two who have read the same revision the second is refused.
    """
    read = client.configuration()
    assert read.revision and read.in_force and read.problems == [] and list(read.syncs) == ["main"]
    assert [sync["id"] for sync in client.configs("syncs")] == ["main"]
    assert client.create_config("pushers", "spare", NOWHERE, if_revision=read.revision)["credential"] == {"key": "***"}
    late = read.revision
    for change in (
        lambda: client.create_config("pushers", "more", NOWHERE, if_revision=late),
        lambda: client.put_config("pushers", "spare", NOWHERE, if_revision=late),
        lambda: client.delete_config("pushers", "spare", if_revision=late),
        lambda: client.clone_config("pushers", "spare", "more", if_revision=late),
        lambda: client.enable_config("pushers", "spare", if_revision=late),
        lambda: client.disable_config("pushers", "spare", if_revision=late),
        lambda: client.delete_unused_configs(if_revision=late),
        lambda: client.roll_back(1, if_revision=late),
    ):
        with pytest.raises(PreconditionFailed, match=r"\(added pushers\.spare\)") as refused:
            change()
        assert refused.value.context["revision"] == late + 1
    off = client.disable_config("pushers", "spare", if_revision=late + 1).entry
    on = client.enable_config("pushers", "spare").entry
    assert off and on and off["disabled"] is True and on["disabled"] is False
    copy = client.clone_config("pushers", "spare", "spare-2", {"batch_size": 7}).entry
    assert copy and copy["batch_size"] == 7
    assert client.unused_configs().pushers == client.delete_unused_configs().pushers == ["spare", "spare-2"]
    newest = client.revisions(limit=1)[0]
    assert newest.reason == "deleted what no sync uses: pushers.spare, pushers.spare-2"
    assert "spare-2" in client.revision(newest.id - 1).text
    assert {one.change for one in client.difference(newest.id).changes} == {"removed"}
    assert [one.key for one in client.difference(newest.id - 1, against=late).changes] == [
        "pushers.spare",
        "pushers.spare-2",
    ]
    assert "spare" in client.roll_back(newest.id - 1).pushers
    assert list(client.roll_back(newest.id).pushers) == ["out"]
    assert client.config_schema()["type"] == "object" and client.cleanups() == []
    for missing in (client.retry_cleanup, client.forget_cleanup):
        with pytest.raises(NotFoundError, match="clean-up"):
            missing(7)


def follow_one_line(client: AgentClient) -> None:
    """
    Follow the log and have something logged; the stream may open after the first try.
    """
    lines = client.follow_logs(component="fustor_agent", text="main")
    ended = threading.Event()

    def make_noise() -> None:
        with AgentClient(client.url, AGENT_TOKEN) as other:
            for size in itertools.count(1):
                if ended.wait(0.2):
                    break
                # Another one each time: applying it restarts the sync, and that is logged.
                other.put_config("pushers", "nowhere", {**NOWHERE, "batch_size": size})
                other.put_config("syncs", "noisy-main", {"source": "files", "pusher": "nowhere"})
                other.apply()

    noise = threading.Thread(target=make_noise)
    noise.start()
    try:
        line = next(lines)
        assert line.component.startswith("fustor_agent") and line.level
    finally:
        ended.set()
        noise.join()
    client.delete_config("syncs", "noisy-main")
    client.delete_config("pushers", "nowhere")
    client.apply()


def test_the_asynchronous_client_says_the_same(agent: Service) -> None:
    def signatures(cls: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(method).parameters)
            for name, method in inspect.getmembers(cls, inspect.isfunction)
            if not name.startswith("_")
        }

    assert signatures(AgentClient) == signatures(AsyncAgentClient)

    async def use() -> None:
        async with AsyncAgentClient(agent.url, AGENT_TOKEN) as client:
            assert (await client.instance("main")).id == "main"
            assert (await client.preview(TRANSFORMS, source="files")).tables
            assert (await client.logs(limit=1)).rows
            assert (await client.delete_letters(sync="main")) == 0

            async def first_line() -> str:
                async for line in client.follow_logs(component="fustor_agent"):
                    return line.component
                return ""

            task = asyncio.create_task(first_line())
            for size in itertools.count(1):
                if task.done():
                    break
                await client.put_config("pushers", "nowhere", {**NOWHERE, "batch_size": size})
                await client.put_config("syncs", "noisy", {"source": "files", "pusher": "nowhere"})
                await client.apply()
                await asyncio.wait({task}, timeout=0.2)
            assert task.result().startswith("fustor_agent")
        async with AsyncAgentClient(agent.url, "a-wrong-token-altogether") as client:
            with pytest.raises(Unauthorized, match="wrong"):
                await client.instances()

    asyncio.run(asyncio.wait_for(use(), 240))
