"""
What Fusion stored of a sync that nobody fed for as long as the datastore's policy says goes; when the agent is back, all of it comes again.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest
from harness.stack import Stack, wait_for
from harness.trees import check_views_agree, make_tree, wait_equal

from fustor_client import RegistryClient
from fustor_client.models import Policy


def keep_for(stack: Stack, days: int) -> None:
    """
    Set how long what nobody feeds is kept; Fusion hears of it with the next request.
    """
    with RegistryClient(stack.registry.url) as admin:
        admin.login("admin", stack.admin_password)
        (datastore,) = admin.datastores()
        admin.change_datastore(datastore.id, policy=Policy(retention_days=days))


def let_pass(stack: Stack, days: float) -> None:
    """
    Have Fusion believe that nobody fed the sync for some days.
    """
    stack.fusion.stop()
    (file,) = (
        path for path in (stack.fusion.folder / "fusion").glob("*.db") if "." not in path.stem and path.stem != "keys"
    )
    with closing(sqlite3.connect(file)) as conn:
        assert conn.execute("UPDATE sync SET unfed_s = ?", (days * 86_400,)).rowcount == 1
        conn.commit()
    stack.fusion.start()


@pytest.mark.parametrize("absence", ["the agent was stopped", "the agent was cut off"])
def test_a_tree_that_was_removed_comes_back_whole(make_stack: Callable[..., Stack], absence: str) -> None:
    """
    Also to an agent that ran on all the time and only could not reach Fusion, and believes that all it sent is there.
    """
    stack = make_stack(fusion_env={"FUSTOR_FUSION_SESSION_TIMEOUT_S": "3"})
    make_tree(stack.tree, 400)
    stack.start()
    stack.wait_snapshot_ended()
    wait_equal(stack)
    keep_for(stack, 30)
    assert stack.fusion_sync()["kept_until"] is None
    assert stack.agent.process is not None
    if absence == "the agent was stopped":
        stack.agent.stop()
    else:
        stack.agent.process.send_signal(signal.SIGSTOP)
    wait_for("Fusion tells when it goes", lambda: stack.fusion_sync()["kept_until"])
    let_pass(stack, 29)
    wait_for("it is still not fed", lambda: stack.fusion_sync()["kept_until"])
    assert len(stack.fusion_get("/views/fs/trees")["rows"]) == 1
    let_pass(stack, 31)
    wait_for("it went", lambda: stack.fusion_sync()["removed_at"])
    assert stack.fusion_get("/views/fs/trees")["rows"] == []

    shutil.rmtree(stack.tree / "project-00")
    (stack.tree / "made meanwhile").mkdir()
    (stack.tree / "made meanwhile/file.txt").write_text("new")
    if absence == "the agent was stopped":
        stack.agent.start()
    else:
        stack.agent.process.send_signal(signal.SIGCONT)
    check_views_agree(stack, wait_equal(stack))
    after = stack.fusion_sync()
    assert after["removed_at"] is None and after["kept_until"] is None
    wait_for("its snapshot is complete", lambda: stack.fusion_get("/views/fs/trees")["rows"][0]["complete"])
