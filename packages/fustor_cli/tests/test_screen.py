"""
The status screen, the progress bar and the plain lines, at several widths.
"""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from fustor_cli import formats
from fustor_cli.commands.status import plain
from fustor_cli.local.picture import Picture, ServiceView, SyncView, view_of
from fustor_cli.local.report import PlainReport, Rate
from fustor_cli.local.screen import SnapshotBar, screen
from fustor_client.models import SnapshotInfo, SyncInfo, SyncState, Tree

WIDTHS = (30, 40, 60, 80, 200)
LONG = "/srv/" + "deep/" * 20 + "中文 tree"


def console(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, height=40, force_terminal=True, color_system=None)


def drawn(on: Console) -> str:
    file = on.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def picture() -> Picture:
    services = [
        ServiceView("registry", "http://127.0.0.1:8101", "running", 11, 7500.0, 0, None, 100 << 20),
        ServiceView("fusion", "http://127.0.0.1:8102", "not answering", 12, 3.0, 0, None, 80 << 20),
        ServiceView("agent", "http://127.0.0.1:8100", "crash loop", None, None, 17, "exit code 3", None),
    ]
    syncs = [
        SyncView("a", "/my tree", "live", True, True, 1241, 1234, 7, 1 << 30, events_per_s=12.5, lag_s=0.004),
        SyncView("b", LONG, "error", reason="the key is \x1b[31mwrong", hint="make another", dead_letters=2),
        SyncView("c", "/c", "live", problems=[f"/c/{n}: unreadable" for n in range(5)]),
    ]
    return Picture(0.0, "daemon", services, syncs, ["Fusion: does not answer"])


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_cut_off_and_nothing_overflows(width: int) -> None:
    """
    Every word that matters is there at every width; folding may break long words, so blanks are left out.
    """
    on = console(width)
    on.print(screen(picture(), footer="Ctrl-C ends"))
    text = drawn(on)
    assert max(formats.width(line) for line in text.splitlines()) <= width
    assert "…" not in text
    assert "\x1b[31m" not in text
    folded = "".join(c for c in text if c not in " \n│─")
    for word in ("/mytree", LONG.replace(" ", ""), "1,234", "1.0G", "12.5", "4ms", "live", "error", "notanswering"):
        assert word in folded, (word, text)
    for word in (
        "crashloop",
        "http://127.0.0.1:8102",
        "2h5min",
        "makeanother",
        "2morelikethese",
        "exitcode3",
        "17restarts",
        "12",
    ):
        assert word in folded, (word, text)
    assert "fustortree'/mytree'" in folded


@pytest.mark.parametrize("root", ["/a\\udcff", "/a\nb", ""])
def test_path_that_can_not_be_typed_is_not_suggested(root: str) -> None:
    on = console(80)
    on.print(screen(Picture(0.0, "daemon", [], [SyncView("a", root, "live")]), footer=None))
    assert "fustor tree " in drawn(on) and "fustor tree /a" not in drawn(on)


def test_a_database_is_shown_with_tables_and_rows() -> None:
    name = "mysql://reader@db1/shop"
    sync = SyncView(
        "shop", name, "live", True, True, 1_234_567, driver="mysql", tables=7, events_per_s=3.0, lag_s=0.002
    )
    on = console(120)
    on.print(screen(Picture(0.0, "daemon", [], [sync]), footer=None))
    text = drawn(on)
    for word in (name, "Tables", "Rows", "7", "1,234,567", "fustor tables", "fustor rows"):
        assert word in text, text
    assert "fustor search" not in text
    assert plain(Picture(0.0, "daemon", [], [sync])) == [
        f"database {name}: live, 7 tables, 1,234,567 rows, 3.0 events/s, lag 2 ms"
    ]
    sync.state = "stopped"
    assert plain(Picture(0.0, None, [], [sync])) == [f"database {name}: stopped, 1,234,567 rows when last seen"]


@pytest.mark.parametrize("width", WIDTHS)
def test_progress_shows_state_and_amounts_on_one_line(width: int) -> None:
    on = console(width)
    bar = SnapshotBar(on)
    bar.update(SyncView("a", LONG + "[red]", "snapshot", entries=1234567), 2345678, 98765.0)
    on.print(bar.progress.get_renderable())
    lines = drawn(on).splitlines()
    assert len(lines) == 1 and formats.width(lines[0]) <= width
    assert "1,234,567" in lines[0] or width < 40
    assert ("entries/s" in lines[0]) == (width >= 60)
    bar.update(SyncView("a", "/x", "snapshot", entries=3000000), 2345678, 1.0)
    (task,) = bar.progress.tasks
    assert (task.total, task.completed) == (None, 3000000)


def test_plain_lines_hold_one_fact_each() -> None:
    lines = plain(picture())
    assert lines[0] == "tree /my tree: live, 1,234 files, 7 directories, 1.0 G, 12.5 events/s, lag 4 ms"
    assert lines[2:4] == ["  reason: the key is \\x1b[31mwrong", "  try: make another"]
    assert "service fusion: not answering, http://127.0.0.1:8102, pid 12, 0 restarts" in lines
    assert lines[-1] == "trouble: Fusion: does not answer"
    assert all(line.isprintable() for line in lines)


def test_plain_report_tells_a_state_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    report, now = PlainReport(), picture()
    for _ in range(2):
        report.refresh(now, "")
    now.services[1].state = "running"
    report.refresh(now, "")
    assert capsys.readouterr().out.splitlines() == [
        "service fusion: not answering",
        "service agent: crash loop",
        f"tree {LONG}: error",
        "service fusion: running",
    ]


def test_rate_is_of_the_last_seconds() -> None:
    rate = Rate(span_s=3.0)
    assert rate.add(0, 0.0) == 0
    assert rate.add(100, 1.0) == 100
    for second in range(2, 12):
        last = rate.add(100, float(second))
    assert last == 0


def running(**more: object) -> SyncState:
    return SyncState("a", state="MESSAGE_SYNC", session_id="s", **more)  # type: ignore[arg-type]


def test_view_puts_agent_and_fusion_together() -> None:
    tree = Tree("a", "file:///x%20y", 5, 2, 100, complete=True)
    assert view_of("a", None, None, None, tree).state == "away"
    view = view_of("a", None, running(pushed_rows=4), SyncInfo("a", rows=9), tree)
    assert (view.root, view.state, view.ready, view.entries, view.pushed_rows) == ("/x y", "live", True, 9, 4)
    incomplete = view_of("a", "/x", running(), SyncInfo("a", snapshot=SnapshotInfo(rows=3)), Tree("a"))
    assert (incomplete.state, incomplete.ready, incomplete.snapshot_rows) == ("snapshot", False, 3)
    for status in ({"catching_up": True}, {"phase": "scanning"}):
        assert view_of("a", "/x", running(source_status=status), None, tree).state == "catching up"
    assert view_of("a", "/x", SyncState("a", state="MESSAGE_SYNC"), None, tree).state == "starting"
    assert view_of("a", "/x", SyncState("a", state="STOPPED"), None, tree).state == "stopped"


def test_reason_does_not_repeat_its_hint() -> None:
    state = SyncState("a", state="MESSAGE_SYNC | ERROR", reason="refused (make a key)", hint="make a key")
    view = view_of("a", "/x", state, None, None)
    assert (view.state, view.reason, view.hint) == ("error", "refused", "make a key")
