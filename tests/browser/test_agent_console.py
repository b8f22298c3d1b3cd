"""
The Agent's pages, as people use them, on a real Agent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from harness.browser import Visitor, tour
from harness.stack import AGENT_TOKEN, Service, Stack, wait_for
from playwright.sync_api import Locator, expect

HOSTILE = '<img src=x onerror="window.wasRun=1"><script>window.wasRun=1</script>'
HEADERS = {"Authorization": f"Bearer {AGENT_TOKEN}"}
PAGES = {
    "/": ("Dashboard", "仪表盘"),
    "/sources": ("Sources", "数据源"),
    "/pushers": ("Pushers", "Pusher"),
    "/syncs": ("Syncs", "同步任务"),
    "/revisions": ("Revisions", "修订版本"),
    "/logs": ("Log", "日志"),
    "/dead-letters": ("Dead letters", "死信"),
    "/pushers/new": ("New pusher", "新建 Pusher"),
    "/sources/tree/edit": ("Edit source: tree", "编辑数据源：tree"),
    "/pushers/out/clone": ("Clone pusher: out", "克隆 Pusher：out"),
    "/syncs/one/text": ("Edit sync as text: one", "以文本编辑同步任务：one"),
    "/watch/one": ("Sync", "同步任务"),
    "/revisions/1": ("What has changed", "更改内容"),
}

Visit = Callable[..., Visitor]


def tree_and_file(folder: Path, syncs: dict[str, Any], **more: Any) -> dict[str, Any]:
    """
    Return a configuration of syncs from a tree to a file.
    """
    tree = folder / "tree"
    tree.mkdir(exist_ok=True)
    return {
        "sources": {"tree": {"driver": "fs", "uri": str(tree), "disabled": False}},
        "pushers": {
            "out": {
                "driver": "echo",
                "endpoint": "here",
                "disabled": False,
                "driver_params": {"file": str(folder / "out.jsonl"), "rows": False, "snapshot": False},
            }
        },
        "syncs": syncs,
        **more,
    }


def configure(agent: Service, config: dict[str, Any]) -> None:
    """
    Write a configuration, and have the agent follow it.
    """
    (agent.folder / "agent-config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    answer = httpx.post(f"{agent.url}/api/configs/apply", headers=HEADERS)
    assert answer.is_success, answer.text


def api(agent: Service, path: str, **how: Any) -> Any:
    """
    Ask the agent's API.
    """
    answer = httpx.get(f"{agent.url}/api{path}", headers=HEADERS, **how)
    assert answer.is_success, answer.text
    return answer.json()


def card(visitor: Visitor, sync: str) -> Locator:
    """
    Return the picture of a sync.
    """
    return visitor.page.get_by_role("region", name=f"Sync {sync}", exact=True)


def at_console(visit: Visit, agent: Service, **how: Any) -> Visitor:
    """
    Open a window, and sign in.
    """
    visitor = visit(f"{agent.url}/console", **how)
    visitor.sign_in(token=AGENT_TOKEN)
    visitor.is_at(PAGES["/"][how.get("language", "en") == "zh"])
    return visitor


@pytest.fixture
def one(agent: Service) -> Service:
    """
    The agent with one sync of a tree.
    """
    configure(agent, tree_and_file(agent.folder, {"one": {"source": "tree", "pusher": "out"}}))
    wait_for("the sync is live", lambda: api(agent, "/instances/one")["health"] == "live", on_timeout=agent.tail)
    return agent


@pytest.fixture
def visitor(visit: Visit, one: Service) -> Visitor:
    return at_console(visit, one)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """
    All three services and a sync of a tree that takes a while to be copied.
    """
    folder = tmp_path_factory.mktemp("stack")
    tree = folder / "tree"
    for at in range(200):
        (tree / f"{at:03}").mkdir(parents=True)
        for name in range(200):
            (tree / f"{at:03}" / f"{name:03}").touch()
    made = Stack(folder, tree)
    made.start()
    yield made
    made.close()


def test_the_root_leads_to_the_sign_in_which_says_where_the_token_is(visit: Visit, one: Service) -> None:
    """
    A wrong token is refused in plain words; the right one leads on.
    """
    visitor = visit(f"{one.url}/console")
    visitor.page.goto(one.url)
    expect(visitor.page).to_have_url(f"{one.url}/console/sign-in?next=%2F")
    visitor.sees("state/agent-token")
    visitor.sign_in(token="a wrong one of some length")
    expect(visitor.page.get_by_role("alert")).to_have_text("This is not the token of this agent.")
    visitor.page.fill("#token", AGENT_TOKEN)
    visitor.page.click("button[type=submit]")
    visitor.is_at("Dashboard")
    assert not visitor.troubles


def test_an_agent_with_nothing_says_what_to_do(visit: Visit, agent: Service) -> None:
    configure(agent, {})
    visitor = at_console(visit, agent)
    visitor.sees("No sync is set up yet.")
    expect(visitor.page.get_by_role("button", name="New source")).to_be_visible()
    for path, title, said in (
        ("/sources", "Sources", "There is no source yet."),
        ("/pushers", "Pushers", "There is no pusher yet."),
        ("/syncs", "Syncs", "There is no sync yet."),
        ("/dead-letters", "Dead letters", "There are no dead letters"),
    ):
        visitor.go(path, title)
        visitor.sees(said)
    assert not visitor.troubles


def test_a_sync_is_seen_to_live_copy_pause_and_go_on(visit: Visit, stack: Stack) -> None:
    """
    The picture follows what happens, without being asked to: rates, the snapshot's progress, its pause and its end.
    """
    stack.wait_snapshot_ended()
    visitor = at_console(visit, stack.agent)
    shown = card(visitor, "files")
    expect(shown).to_contain_text("live")
    visitor.sees("The sync is live.")
    before = (stack.fusion_sync().get("snapshot") or {}).get("ended_at")
    visitor.press("Snapshot of files")
    visitor.press("Take the snapshot")
    visitor.click(shown.get_by_role("button", name="Pause the snapshot of files"))
    expect(shown).to_contain_text("live, the snapshot is paused")
    expect(shown).to_contain_text(re.compile(r"\d+ %: [\d,]+ of about [\d,]+ rows"))
    bar = shown.get_by_role("progressbar")
    expect(bar).to_have_attribute("aria-valuenow", re.compile(r"^\d+$"))
    visitor.click(shown.get_by_role("button", name="Go on with the snapshot of files"))
    expect(shown.get_by_role("progressbar")).to_be_hidden()
    assert (stack.fusion_sync().get("snapshot") or {}).get("ended_at") not in {None, before}
    (stack.tree / "later").touch()
    expect(shown).to_contain_text(re.compile(r"(?<![\d.])0?\.\d+ rows/s|[1-9][\d,.]* rows/s"))
    assert not visitor.troubles


def test_a_consumer_that_is_away_is_told_with_what_to_do_and_it_recovers(visit: Visit, stack: Stack) -> None:
    """
    Nothing is green while nothing arrives; once the consumer is back, all is well without anybody doing anything.
    """
    visitor = at_console(visit, stack.agent)
    shown = card(visitor, "files")
    visitor.sees("The sync is live.")
    stack.fusion.stop()
    (stack.tree / "while it is away").touch()
    expect(shown).to_contain_text("trying again")
    expect(shown).to_contain_text("What to do: ")
    expect(shown).to_contain_text(re.compile("It is tried again in|It is being tried again"))
    expect(shown.locator(".sync-facts")).to_contain_text("tables: ")
    expect(shown.locator(".sync-facts")).to_contain_text("behind")
    expect(shown.get_by_role("button", name="Snapshot of files")).to_be_disabled()
    expect(shown.get_by_text("A snapshot can be taken once the sync is live.")).to_be_visible()
    visitor.sees("1 of 1 syncs can't go on now, and keeps trying: files")
    reader = at_console(visit, stack.agent, language="zh")
    there = reader.page.get_by_role("region", name="同步任务 files", exact=True)
    expect(there.locator(".trouble-reason")).to_have_text(re.compile(f"^无法连接到 {re.escape(stack.fusion.url)}："))
    expect(there).to_contain_text("请检查 Fusion 是否在运行，中间是否有阻挡；在此期间不会丢失任何数据")
    assert not reader.troubles
    stack.fusion.start()
    visitor.sees("The sync is live.")
    expect(shown.get_by_text("What to do: ")).to_be_hidden()
    assert not visitor.troubles


def test_start_and_stop_and_the_page_of_one_sync(visitor: Visitor, one: Service) -> None:
    shown = card(visitor, "one")
    visitor.click(shown.get_by_role("button", name="Stop one"))
    expect(shown).to_contain_text("stopped")
    assert api(one, "/instances/one")["health"] == "stopped"
    visitor.click(shown.get_by_role("button", name="Start one"))
    expect(shown).to_contain_text("live")
    visitor.click(shown.get_by_role("button", name="Restart one"))
    visitor.sees("It starts anew.")
    expect(shown).to_contain_text("live")
    # The card may still show how it was; of what is made before the stream is open this sync would not be told.
    wait_for("it is live again", lambda: api(one, "/instances/one")["health"] == "live", on_timeout=one.tail)
    (one.folder / "tree" / "seen").touch()
    visitor.click(shown.get_by_role("link", name="one", exact=True))
    visitor.is_at("Sync")
    visitor.sees("Rows confirmed")
    expect(visitor.row("files")).to_contain_text("live")
    expect(card(visitor, "one").locator(".sync-facts")).not_to_contain_text("position")
    session = api(one, "/instances/one")["session_id"]
    figure = visitor.page.locator(".figures > div", has_text="Session")
    expect(figure.get_by_title(session)).to_have_text(session if len(session) < 10 else f"{session[:8]}…")
    visitor.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.click(figure.get_by_role("button", name="Copy the id of the session"))
    visitor.sees("Copied.")
    assert visitor.page.evaluate("() => navigator.clipboard.readText()") == session
    visitor.go("/watch/nobody", "Sync")
    visitor.sees("does not run here")
    assert not visitor.troubles


def test_a_change_waits_is_applied_and_is_rolled_back(visitor: Visitor, one: Service) -> None:
    """
    What is saved waits in sight of every page until it is applied, and the way back is the same.
    """
    visitor.go("/pushers", "Pushers")
    visitor.press("Edit out")
    visitor.is_at("Edit pusher: out")
    visitor.click(visitor.page.get_by_text("Retries and batch size"))
    visitor.fill("Most rows in one push", "many")
    visitor.press("Save")
    expect(visitor.page.locator(".q-field--error")).to_contain_text("integer")
    visitor.fill("Most rows in one push", "777")
    visitor.press("Save")
    visitor.is_at("Pushers")
    for path in ("/", "/logs"):
        visitor.go(path, PAGES[path][0])
        banner = visitor.page.get_by_role("region", name="Changes wait to be applied")
        expect(banner).to_contain_text("To be restarted with what has changed: one")
    visitor.press("What has changed")
    visitor.is_at("What has changed")
    expect(visitor.row("batch_size")).to_contain_text("777")
    expect(visitor.page.locator(".diff-line.is-added")).to_contain_text("batch_size: 777")
    visitor.press("Apply changes")
    visitor.sees("Restarted: one")
    expect(visitor.page.get_by_role("region", name="Changes wait to be applied")).to_have_count(0)
    revision = api(one, "/configs")["revision"]
    visitor.go("/revisions", "Revisions")
    visitor.press(f"Roll back to revision {revision - 1}")
    visitor.press("Roll back")
    visitor.sees("Changes wait to be applied")
    assert "batch_size" not in api(one, "/configs")["pushers"]["out"]
    visitor.press("Apply changes")
    expect(visitor.page.get_by_role("region", name="Changes wait to be applied")).to_have_count(0)
    assert not visitor.troubles


def test_entries_are_disabled_enabled_cloned_and_deleted(visitor: Visitor, one: Service) -> None:
    """
    Also in place of each other, and with the syncs that need them; deleting is asked about twice.
    """
    visitor.go("/pushers", "Pushers")
    visitor.press("Disable out")
    expect(visitor.row("echo")).to_contain_text("disabled")
    visitor.sees("To be stopped: one")
    visitor.press("Enable out")
    expect(visitor.row("echo")).to_contain_text("enabled")
    expect(visitor.page.get_by_role("region", name="Changes wait to be applied")).to_have_count(0)
    visitor.press("Clone out")
    visitor.is_at("Clone pusher: out")
    visitor.fill("Name of the copy", "other")
    visitor.click(visitor.page.get_by_text("Let it take the place of out"))
    visitor.press("Save")
    visitor.is_at("Pushers")
    expect(visitor.row("other").first).to_contain_text("one")
    expect(visitor.page.get_by_role("button", name="Enable out", exact=True)).to_be_visible()
    assert api(one, "/configs")["syncs"]["one"]["pusher"] == "other"
    visitor.click(visitor.page.get_by_role("button", name=re.compile("Delete what no sync uses")))
    dialog = visitor.page.locator(".console-dialog:visible")
    expect(dialog).to_contain_text("These are deleted: out")
    expect(dialog.get_by_role("button", name="Delete", exact=True)).to_be_disabled()
    visitor.click(visitor.page.get_by_text("Yes, I am sure."))
    visitor.press("Delete")
    expect(visitor.page.get_by_role("button", name="Enable out", exact=True)).to_have_count(0)
    visitor.go("/sources", "Sources")
    visitor.press("Delete tree")
    expect(dialog).to_contain_text("deleted with it: one")
    visitor.click(visitor.page.get_by_text("Yes, I am sure."))
    visitor.press("Delete")
    visitor.sees("There is no source yet.")
    assert api(one, "/configs")["syncs"] == {}
    assert not visitor.troubles


def test_a_change_of_somebody_else_is_not_undone_unseen(visitor: Visitor, one: Service) -> None:
    visitor.go("/syncs", "Syncs")
    expect(visitor.row("one")).to_contain_text("live")
    put = httpx.put(
        f"{one.url}/api/configs/syncs/one", json={"source": "tree", "pusher": "out", "disabled": True}, headers=HEADERS
    )
    assert put.is_success
    visitor.press("Disable one")
    visitor.sees("Somebody else has changed the configuration meanwhile")
    expect(visitor.page.get_by_role("button", name="Enable one", exact=True)).to_be_visible()
    assert not visitor.troubles


def test_a_new_pusher_is_tried_and_saved_and_its_secret_is_never_shown(visitor: Visitor, one: Service) -> None:
    visitor.go("/pushers/new", "New pusher")
    visitor.fill("Name", "faraway")
    visitor.fill("Address", "http://127.0.0.1:9")
    visitor.fill("API key", "a-very-secret-key")
    visitor.press("Test the connection")
    visitor.sees("It does not work:")
    visitor.press("Save")
    visitor.is_at("Pushers")
    expect(visitor.row("faraway")).to_contain_text("http://127.0.0.1:9")
    visitor.press("Edit faraway")
    visitor.is_at("Edit pusher: faraway")
    assert "a-very-secret-key" not in visitor.page.content()
    saved = visitor.page.get_by_label("API key", exact=True)
    expect(saved).to_have_value("")
    expect(saved).to_have_attribute("placeholder", "saved; leave empty to keep it")
    visitor.fill("Address", "http://127.0.0.1:19")
    visitor.press("Save")
    visitor.is_at("Pushers")
    entry = yaml.safe_load((one.folder / "agent-config.yaml").read_text())["pushers"]["faraway"]
    assert entry["credential"] == {"key": "a-very-secret-key"}
    assert entry["endpoint"] == "http://127.0.0.1:19"
    visitor.press("Edit faraway")
    visitor.is_at("Edit pusher: faraway")
    visitor.press("Test the connection")
    visitor.sees("It does not work:")
    visitor.press("Edit as text")
    text = visitor.page.get_by_label("As it stands in the file", exact=True)
    expect(text).to_have_value(re.compile(r"key: '\*\*\*'"))
    text.fill("driver: [")
    visitor.press("Save")
    expect(visitor.page.locator(".q-field--error")).to_contain_text("line")
    text.fill("driver: fusion\nendpoint: http://127.0.0.1:19\ncredential:\n  key: '***x'\ndisabled: false\n")
    visitor.press("Save")
    visitor.sees("credential.key: `***` stands for a saved secret")
    visitor.press("Edit as fields")
    saved.fill("another-key")
    visitor.press("Save")
    visitor.is_at("Pushers")
    entry = yaml.safe_load((one.folder / "agent-config.yaml").read_text())["pushers"]["faraway"]
    assert entry["credential"] == {"key": "another-key"}
    assert "a-very-secret-key" not in one.tail(10_000)
    assert not visitor.troubles


def test_a_broken_file_is_told_with_its_place(visitor: Visitor, one: Service) -> None:
    file = one.folder / "agent-config.yaml"
    good = file.read_text()
    file.write_text(good + "syncs: {one: [}\n")
    banner = visitor.page.get_by_role("region", name="The configuration file has problems")
    expect(banner).to_contain_text(re.compile(r"line \d+, column \d+"))
    expect(card(visitor, "one")).to_contain_text("live")
    file.write_text(good)
    expect(banner).to_have_count(0)
    assert not visitor.troubles


def test_the_log_is_followed_narrowed_and_read_backwards(visitor: Visitor, one: Service) -> None:
    """
    Lines come as they are written, hostile ones as text; the place one has scrolled to stays.
    """

    def write(*messages: str, level: str = "warning") -> None:
        with (one.folder / "fustor_agent.log").open("a") as file:
            for message in messages:
                line = {"event": message, "level": level, "logger": "other.place", "timestamp": "2026-01-01T00:00:00Z"}
                file.write(json.dumps(line) + "\n")

    write(*(f"old line {at}" for at in range(300)))
    visitor.go("/logs", "Log")
    visitor.sees("old line 299")
    write(HOSTILE)
    expect(visitor.page.get_by_text(HOSTILE)).to_be_in_viewport()
    assert visitor.page.evaluate("() => window.wasRun") is None
    visitor.fill("Text", "old line")
    expect(visitor.page.locator(".log-line")).to_have_count(200)
    box = visitor.page.locator(".log")
    visitor.press("Load older lines")
    expect(visitor.page.locator(".log-line")).to_have_count(300)
    expect(visitor.page.locator(".log-line").first).to_contain_text("old line 0")
    box.evaluate("box => { box.scrollTop = -box.scrollHeight / 2 }")
    marked = "() => document.elementFromPoint(innerWidth / 2, innerHeight / 2).innerText"
    seen = visitor.page.evaluate(marked)
    for end in (visitor.page.locator(".log-line").first, visitor.page.locator(".log-line").last):
        expect(end).not_to_be_in_viewport()
    write("old line, but new", level="error")
    expect(visitor.page.locator(".log-line")).to_have_count(301)
    assert visitor.page.evaluate(marked) == seen
    visitor.click(visitor.page.get_by_label("Level", exact=True))
    visitor.click(visitor.page.get_by_role("option", name="ERROR and worse"))
    expect(visitor.page.locator(".log-line")).to_have_count(1)
    visitor.fill("Component", "nowhere")
    visitor.sees("No line is so.")
    assert not visitor.troubles


def test_dead_letters_are_looked_at_replayed_and_dropped(visit: Visit, agent: Service) -> None:
    """
    Rows that were refused are shown as text, however they are named; replaying old rows over newer ones is asked about.
    """
    mapping = [{"to": "target", "source": ["files.target"], "required": True}]
    syncs = {"one": {"source": "tree", "pusher": "out", "fields_mapping": mapping}}
    configure(agent, tree_and_file(agent.folder, syncs))
    wait_for("it is live", lambda: api(agent, "/instances/one")["health"] == "live", on_timeout=agent.tail)
    names = ["first", "second", HOSTILE.replace("/", "")]
    for name in names:
        (agent.folder / "tree" / name).touch()
    wait_for("they are parked", lambda: api(agent, "/instances/one")["dead_letters"] >= len(names))
    visitor = at_console(visit, agent)
    parked = api(agent, "/instances/one")["dead_letters"]
    shown = card(visitor, "one")
    expect(shown.get_by_role("link", name=f"{parked} dead letters")).to_be_visible()
    expect(shown).to_contain_text(f"Everything has arrived, except for {parked} dead letters.")
    expect(visitor.page.locator(".headline")).to_contain_text(f"{parked} dead letters: one")
    visitor.go("/syncs", "Syncs")
    expect(visitor.row("one").get_by_role("link", name=f"{parked} dead letters")).to_be_visible()
    visitor.go("/dead-letters", "Dead letters")
    expect(visitor.page.get_by_role("button", name="Replay all of these")).to_be_disabled()
    letters = api(agent, "/dead-letters")["rows"]
    visitor.press(f"View letter {letters[-1]['id']}")
    visitor.is_at("Dead letter")
    visitor.sees(letters[-1]["reason"][1:])
    visitor.sees(f"What to do: {letters[-1]['hint']}")
    visitor.sees("***")
    configure(agent, tree_and_file(agent.folder, {"one": {"source": "tree", "pusher": "out"}}))
    wait_for("it is live", lambda: api(agent, "/instances/one")["health"] == "live", on_timeout=agent.tail)
    (hostile,) = [
        letter["id"]
        for letter in letters
        if "onerror" in json.dumps(api(agent, f"/dead-letters/{letter['id']}")["event"])
    ]
    visitor.go(f"/dead-letters/{hostile}", "Dead letter")
    visitor.sees("onerror")
    assert visitor.page.evaluate("() => window.wasRun") is None
    assert not visitor.violations()
    visitor.go("/dead-letters", "Dead letters")
    assert not visitor.violations()
    visitor.press(f"Replay letter {letters[0]['id']}")
    visitor.sees("Replay all the same?")
    visitor.click(visitor.page.get_by_text("Yes, I am sure."))
    visitor.press("Replay")
    expect(visitor.page.get_by_role("button", name=f"View letter {letters[0]['id']}")).to_have_count(0)
    assert letters[0]["id"] not in [one["id"] for one in api(agent, "/dead-letters")["rows"]]
    visitor.click(visitor.page.get_by_label("Sync", exact=True))
    visitor.click(visitor.page.get_by_role("option", name=re.compile("^one")))
    drop = visitor.page.get_by_role("button", name="Drop all of these")
    expect(drop).to_be_enabled()
    visitor.click(drop)
    visitor.click(visitor.page.locator(".console-dialog:visible").get_by_text("Yes, I am sure."))
    visitor.press("Drop")
    visitor.sees("There are no dead letters")
    assert api(agent, "/dead-letters")["rows"] == []
    assert not visitor.troubles


def test_two_hundred_syncs_are_shown_in_parts(visit: Visit, agent: Service) -> None:
    """
    The window holds a page of them, whatever there is; narrowing down is done by the agent.
    """
    syncs: dict[str, Any] = {f"sync-{at:03}": {"source": "tree", "pusher": "out"} for at in range(198)}
    syncs |= {"needle": {"source": "tree", "pusher": "out", "disabled": True}}
    config = tree_and_file(agent.folder, syncs)
    config["pushers"]["broken"] = {**config["pushers"]["out"], "driver_params": {"file": "/nowhere/at/all"}}
    config["syncs"]["sick"] = {"source": "tree", "pusher": "broken"}
    configure(agent, config)
    wait_for("they run", lambda: api(agent, "/overview")["health"]["live"] == 198, on_timeout=agent.tail)
    visitor = at_console(visit, agent)
    cards = visitor.page.locator(".sync-card")
    expect(cards).to_have_count(20)
    visitor.sees("1 to 20 of 200")
    # What is in trouble stands first, though it is the last one that is configured, and the headline leads there.
    expect(cards.first).to_contain_text("sick")
    expect(cards.nth(1)).to_contain_text("sync-000")
    expect(visitor.page.locator(".headline").get_by_role("link", name="sick", exact=True)).to_have_attribute(
        "href", re.compile(r"/watch/sick$")
    )
    visitor.press("Next")
    visitor.sees("21 to 40 of 200")
    expect(cards).to_have_count(20)
    expect(cards.first).to_contain_text("sync-019")
    stopped = visitor.page.get_by_role("button", name=re.compile("^stopped 1"))
    visitor.click(visitor.page.get_by_role("button", name="disabled").or_(stopped))
    expect(cards).to_have_count(1)
    expect(cards).to_contain_text("needle")
    visitor.click(visitor.page.get_by_role("button", name=re.compile("^all 200")))
    visitor.fill("Search", "sync-19")
    expect(cards).to_have_count(8)
    expect(visitor.page.get_by_role("button", name="Next")).to_be_hidden()
    visitor.go("/syncs", "Syncs")
    expect(visitor.page.get_by_role("row")).to_have_count(51)
    visitor.press("Next")
    visitor.sees("Page 2")
    expect(visitor.page.get_by_role("row")).to_have_count(51)
    assert httpx.get(f"{agent.url}/health/ready").status_code == 200
    configure(agent, {})
    assert not visitor.troubles


def test_sessions_end_when_nobody_does_anything(visit: Visit, tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    Although the page asks by itself all the time.
    """
    service = Service("agent", tmp_path_factory.mktemp("short"), {"FUSTOR_AGENT_CONSOLE_IDLE_S": "8"})
    service.start()
    try:
        visitor = at_console(visit, service)
        expect(visitor.page).to_have_url(re.compile(r"/sign-in\?next="), timeout=60_000)
        visitor.page.goto(f"{service.url}/console/logs")
        expect(visitor.page).to_have_url(re.compile("/sign-in"))
    finally:
        service.stop()


def test_a_service_without_a_console_serves_none(tmp_path_factory: pytest.TempPathFactory) -> None:
    service = Service("agent", tmp_path_factory.mktemp("none"), {"FUSTOR_AGENT_CONSOLE": "false"})
    service.start()
    try:
        assert httpx.get(f"{service.url}/console/").status_code == 404
        assert httpx.get(service.url).status_code == 404
    finally:
        service.stop()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_every_page(visit: Visit, one: Service, theme: str) -> None:
    """
    axe finds nothing serious; nothing is wider than its window; everything is in the language that was chosen.
    """
    config = tree_and_file(one.folder, {"one": {"source": "tree", "pusher": "out"}, "two": {"source": "tree"}})
    config["syncs"]["two"] = {"source": "tree", "pusher": "out", "disabled": True}
    (one.folder / "agent-config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    changed = {**config["pushers"]["out"], "batch_size": 500}
    assert httpx.put(f"{one.url}/api/configs/pushers/out", json=changed, headers=HEADERS).is_success
    problems = tour(visit, f"{one.url}/console", PAGES, theme, {"token": AGENT_TOKEN})
    assert not problems, "\n".join(problems)


def test_the_keyboard_alone_stops_a_sync(visitor: Visitor) -> None:
    """
    Tab leads to the button, Enter presses it, and what the page asks by itself takes the focus from nobody.
    """
    page = visitor.page
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Restart one":
            break
    else:
        pytest.fail("the button can't be reached by Tab")
    page.keyboard.press("Tab")
    figures = page.evaluate("() => window.socket && performance.now()")
    page.wait_for_function("begin => performance.now() - begin > 2500", arg=figures)
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "Stop one"
    page.keyboard.press("Enter")
    expect(card(visitor, "one")).to_contain_text("stopped")
