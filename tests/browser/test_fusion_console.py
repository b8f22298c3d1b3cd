"""
Fusion's pages, as people use them: on the three real services, with a tree that a real agent watches.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness.browser import NARROW, Visitor, tour
from harness.sender import Sender
from harness.stack import Stack, wait_for
from playwright.sync_api import TimeoutError as NotInTime
from playwright.sync_api import expect

from fustor_client.models import Key
from fustor_client.registry import RegistryClient
from fustor_core.models.envelope import WireEvent

HOSTILE = '<img src=x onerror="window.wasRun=1"><script>window.wasRun=1</script>'
PAGES = {
    "/": ("Overview", "总览"),
    "/files": ("Files", "文件"),
    "/tables": ("Tables", "表"),
    "/freshness": ("Freshness", "新鲜度"),
}
NEEDS_READ = "This API key may bring rows, but not look at them."
OPENS_NOTHING = "This API key opens nothing"
NOT_ANY_MORE = "The service does not accept what you signed in with any more."

Visit = Callable[..., Visitor]


@pytest.fixture
def console(fed: Stack) -> str:
    return f"{fed.fusion.url}/view"


@pytest.fixture
def reader(visit: Visit, fed: Stack, console: str) -> Visitor:
    visitor = visit(console)
    visitor.sign_in(key=fed.key)
    visitor.is_at("Overview")
    return visitor


@pytest.fixture
def registry(fed: Stack) -> Iterator[RegistryClient]:
    with RegistryClient(fed.registry.url) as client:
        client.login("admin", fed.admin_password)
        yield client


@pytest.fixture
def new_key(registry: RegistryClient) -> Callable[..., Key]:
    """
    Makes a key of the datastore that holds the tree, or of another one.
    """

    def make(*scopes: str, datastore: str = "tree") -> Key:
        found = {one.name: one for one in registry.datastores()}
        store = found.get(datastore) or registry.create_datastore(datastore)
        return registry.create_key(f"of a test {secrets.token_hex(4)}", store.id, scopes=list(scopes))

    return make


def refuse(visitor: Visitor, console: str, key: str) -> None:
    """
    Try to sign in with a key that is of no use here.
    """
    visitor.page.goto(f"{console}/sign-in")
    visitor.page.fill("#key", key)
    visitor.page.click("button[type=submit]")
    expect(visitor.page.get_by_role("alert")).to_be_visible()


def whole_snapshot(sender: Sender) -> None:
    """
    Have nothing be missing of a sync.
    """
    sender.push(WireEvent(index=0), source_type="snapshot", snapshot_id="whole", seq=1, is_snapshot_end=True)


def entries(visitor: Visitor) -> Any:
    """
    The rows of the list of a folder, its heading left out.
    """
    return visitor.page.locator(".entries:visible tbody tr")


def entry(visitor: Visitor, name: str) -> Any:
    return entries(visitor).filter(has_text=name)


# Who may look


def test_the_root_leads_to_the_sign_in_and_on_to_the_page_that_was_asked_for(
    visit: Visit, fed: Stack, console: str, new_key: Callable[..., Key]
) -> None:
    """
    A wrong key, and one that may not read, are told what is wrong with them; the right one leads on.
    """
    visitor = visit(console)
    visitor.page.goto(fed.fusion.url)
    expect(visitor.page).to_have_url(f"{console}/sign-in?next=%2F")
    refuse(visitor, console, "nonsense")
    visitor.sees(OPENS_NOTHING)
    refuse(visitor, console, new_key("ingest").key or "")
    visitor.sees(NEEDS_READ)
    visitor.sees("“read”")
    visitor.page.goto(f"{console}/files")
    visitor.page.fill("#key", fed.key)
    visitor.page.click("button[type=submit]")
    visitor.is_at("Files")
    assert not visitor.troubles


def test_what_is_wrong_with_a_key_is_told_in_the_language_of_who_has_it(
    visit: Visit, console: str, new_key: Callable[..., Key]
) -> None:
    visitor = visit(console, language="zh")
    refuse(visitor, console, new_key("ingest").key or "")
    visitor.sees("此 API 密钥只能写入数据，不能查看数据。")
    assert NEEDS_READ not in visitor.page.content()


@pytest.mark.parametrize(("path", "title"), [("/", "Overview"), ("/files", "Files"), ("/freshness", "Freshness")])
def test_who_holds_a_key_that_is_revoked_is_out(
    visit: Visit, console: str, new_key: Callable[..., Key], registry: RegistryClient, path: str, title: str
) -> None:
    """
    The page leads to the sign-in by itself, and says why; the old session opens nothing any more.
    """
    key = new_key("read")
    visitor = visit(console)
    visitor.sign_in(key=key.key or "")
    visitor.is_at("Overview")
    visitor.go(path, title)
    registry.revoke_key(key.id)
    expect(visitor.page).to_have_url(re.compile(r"/sign-in\?next=.*why=refused"), timeout=60_000)
    visitor.sees(NOT_ANY_MORE)
    visitor.page.goto(f"{console}/tables")
    expect(visitor.page).to_have_url(re.compile("/sign-in"))
    refuse(visitor, console, key.key or "")
    assert not visitor.troubles


def test_another_datastore_is_not_to_be_seen(visit: Visit, console: str, new_key: Callable[..., Key]) -> None:
    """
    Neither its agents, its streams, its tables nor its files, also when they are asked for by name.
    """
    key = new_key("read", datastore="elsewhere")
    visitor = visit(console)
    visitor.sign_in(key=key.key or "")
    visitor.is_at("Overview")
    visitor.sees("No agent has sent anything to this datastore yet.")
    visitor.go("/freshness", "Freshness")
    visitor.sees("Nothing feeds this datastore yet.")
    visitor.go("/files?tree=files&path=docs", "Files")
    visitor.sees("There are no files here.")
    visitor.go("/tables", "Tables")
    for path in PAGES:
        visitor.go(path, PAGES[path][0])
        text = visitor.page.inner_text("main")
        assert not any(name in text for name in ("readme.txt", "people", "docs", "sender")), text
    assert not visitor.troubles


def test_sessions_end_when_nobody_does_anything(visit: Visit, make_stack: Callable[..., Stack]) -> None:
    """
    Also of a page that asks by itself: it leads to the sign-in, and back to where one was.
    """
    stack = make_stack(fusion_env={"FUSTOR_FUSION_CONSOLE_IDLE_S": "8"})
    stack.registry.start()
    stack.key = stack.provision("tree")
    stack.fusion.start()
    visitor = visit(f"{stack.fusion.url}/view")
    visitor.sign_in(key=stack.key)
    visitor.is_at("Overview")
    visitor.page.goto(f"{stack.fusion.url}/view/freshness")
    expect(visitor.page).to_have_url(re.compile(r"/sign-in\?next=%2Ffreshness.*why=ended"), timeout=60_000)
    visitor.sees("Your session has ended.")


def test_who_signs_out_is_out(reader: Visitor, console: str) -> None:
    cookies = {one["name"]: one["value"] for one in reader.page.context.cookies()}
    mine = next(one for one in reader.page.context.cookies() if one["name"] == "fustor_fusion_console")
    assert mine["httpOnly"] and mine["sameSite"] == "Lax"
    reader.press("Sign out")
    expect(reader.page).to_have_url(f"{console}/sign-in")
    again = httpx.get(f"{console}/", cookies=cookies, follow_redirects=False)
    assert again.status_code == 303 and "/sign-in" in again.headers["location"]


def test_the_log_holds_no_keys(reader: Visitor, fed: Stack) -> None:
    reader.go("/files", "Files")
    reader.go("/freshness", "Freshness")
    written = wait_for("the log has lines", lambda: fed.fusion.tail(10_000))
    assert fed.key not in written
    assert "Traceback" not in written


# What flows

LAGS_AGREE = """() => {
    const lag = where => /lag ([^·]*?s)$/.exec([...document.querySelectorAll(where)].map(one => one.innerText).find(one => one.includes("lag")));
    const [sum, sync] = [lag(".is-fusion .flow-body > *"), lag(".flow-sync .flow-parts > *")];
    return sum !== null && sync !== null && sum[1] === sync[1];
}"""


def test_the_picture_shows_who_brings_what_and_who_stopped(visit: Visit, make_stack: Callable[..., Stack]) -> None:
    """
    All is well while the agent runs; when it is stopped the sentence, the picture and the freshness say so, by themselves.
    """
    stack = make_stack()
    (stack.tree / "one.txt").write_text("1")
    stack.start()
    stack.wait_snapshot_ended()
    visitor = visit(f"{stack.fusion.url}/view")
    visitor.sign_in(key=stack.key)
    visitor.is_at("Overview")
    visitor.go("/freshness", "Freshness")
    cells = visitor.row("file tree").get_by_role("cell")
    expect(cells.nth(4)).to_have_text("none yet")
    expect(cells.nth(5)).to_have_text("—")
    visitor.go("/", "Overview")
    visitor.sees("The sync is live.")
    expect(visitor.page.locator(".flow-sync")).to_contain_text("files")
    expect(visitor.page.locator(".is-store")).to_contain_text("1 sync of 1 agent")
    (stack.tree / "two.txt").write_text("2")
    expect(visitor.page.locator(".flow-sync")).to_contain_text("lag")
    visitor.page.wait_for_function(LAGS_AGREE)
    other = visit(f"{stack.fusion.url}/view")
    other.sign_in(key=stack.key)
    other.is_at("Overview")
    other.go("/freshness", "Freshness")
    expect(other.row("file tree")).to_contain_text("live")
    stack.agent.stop()
    visitor.sees("The sync brings nothing now: stopped.")
    visitor.sees("Start the agent, or enable the sync there")
    expect(other.row("file tree")).to_contain_text("stopped")
    stack.agent.start()
    visitor.sees("The sync is live.")
    expect(other.row("file tree")).to_contain_text("live")
    assert not visitor.troubles + other.troubles


def test_an_agent_that_is_not_heard_of_is_silent(visit: Visit, make_stack: Callable[..., Stack]) -> None:
    """
    It was killed, so it could not say that it stops.
    """
    stack = make_stack(fusion_env={"FUSTOR_FUSION_SESSION_TIMEOUT_S": "3"})
    stack.start()
    stack.wait_snapshot_ended()
    visitor = visit(f"{stack.fusion.url}/view")
    visitor.sign_in(key=stack.key)
    visitor.is_at("Overview")
    visitor.sees("The sync is live.")
    stack.agent.kill()
    visitor.sees("The sync brings nothing now: silent.")


def test_what_is_the_same_stays_untouched(reader: Visitor, fed: Stack, console: str) -> None:
    """
    Pages that ask again do not build anew what they show: what somebody points at, or is in with the keyboard, stays.
    """
    reader.sees("people")
    mark = "() => { for (const e of document.querySelectorAll('.flow-sync')) e.isOld = true; }"
    old = "() => [...document.querySelectorAll('.flow-sync')].every(e => e.isOld)"
    reader.page.evaluate(mark)
    line = reader.page.locator(".flow-sync").filter(has_text="people")
    before = line.inner_text()
    sender = Sender(fed.fusion.url, fed.key, "people")
    sender.rows("shop", "people", ("id", "name"), [(1, "once more")])
    expect(line).not_to_have_text(before)
    assert reader.page.evaluate(old)
    reader.go("/freshness", "Freshness")
    row = reader.row("shop.people")
    row.get_by_text("shop.people").evaluate("e => { e.isOld = true }")
    search = reader.page.get_by_label("Part of a name")
    search.focus()
    shown = row.inner_text()
    sender.rows("shop", "people", ("id", "name"), [(2, "once more")])
    expect(row).not_to_have_text(shown)
    assert row.get_by_text("shop.people").evaluate("e => e.isOld")
    expect(search).to_be_focused()
    sender.close()
    assert not reader.troubles


def test_a_narrow_window_turns_an_order_round_and_says_which_datastore_it_is(
    visit: Visit, fed: Stack, console: str
) -> None:
    """
    Where no headings are shown, and the header has no room.
    """
    visitor = visit(console, width=NARROW)
    visitor.sign_in(key=fed.key)
    visitor.is_at("Overview")
    visitor.go("/tables", "Tables")
    cards = visitor.page.locator("tbody tr")
    expect(cards.first).to_contain_text("files")
    expect(cards.first).to_contain_text("file tree")
    visitor.press("Ascending: turn it round")
    expect(cards.last).to_contain_text("file tree")
    visitor.press("Descending: turn it round")
    expect(cards.first).to_contain_text("file tree")
    visitor.press("Menu")
    expect(visitor.page.locator(".console-navigation .console-who")).to_have_text("Datastoretree")
    visitor.page.goto(f"{console}/tables")
    visitor.click(visitor.page.get_by_role("link", name="How fresh each of them is"))
    visitor.is_at("Freshness")
    visitor.click(visitor.page.get_by_text("What the states mean"))
    visitor.sees("Changes arrive. What was there before has not begun to be copied")
    assert not visitor.troubles


def test_two_hundred_syncs(visit: Visit, console: str, fed: Stack, new_key: Callable[..., Key]) -> None:
    """
    The window never holds more than a page of them, whoever needs somebody comes first, and all can be reached.
    """
    key = new_key("ingest", "read", datastore="many").key or ""
    senders = [Sender(fed.fusion.url, key, f"sync-{at:03}", agent_id=f"agent-{at % 25:02}") for at in range(200)]
    for at, sender in enumerate(senders):
        whole_snapshot(sender)
        sender.rows("s", f"table_{at:03}", ("id", "x"), [(1, 1)], ts=time.time())
        sender.close(end_session=at == 7)
    visitor = visit(console)
    visitor.sign_in(key=key)
    visitor.is_at("Overview")
    visitor.sees("1 of 200 syncs brings nothing now: 1 stopped.")
    expect(visitor.page.locator(".flow-row")).to_have_count(10)
    expect(visitor.page.locator(".flow-row").first).to_contain_text("agent-07")
    assert visitor.page.locator(".flow-sync").count() == 50
    visitor.sees("and 3 more")
    names = set()
    for number in (1, 2, 3):
        expect(visitor.page.get_by_text(f"Page {number}", exact=True)).to_be_visible()
        names |= set(visitor.page.locator(".flow-row h3, .flow-row [role=heading]").all_inner_texts())
        if number < 3:
            visitor.press("Next")
    assert names == {f"agent-{at:02}" for at in range(25)}
    visitor.go("/freshness", "Freshness")
    expect(visitor.page.locator("tbody tr")).to_have_count(50)
    expect(visitor.page.locator("tbody tr").first).to_contain_text("s.table_007")
    visitor.click(visitor.page.get_by_role("button", name="Stream", exact=True))
    expect(visitor.page.locator("tbody tr").first).to_contain_text("s.table_000")
    visitor.press("Next")
    expect(visitor.page.locator("tbody tr").first).to_contain_text("s.table_050")
    visitor.fill("Part of a name", "_123")
    expect(visitor.page.locator("tbody tr")).to_have_count(1)
    expect(visitor.row("s.table_123")).to_contain_text("sync-123")
    visitor.go("/freshness?agent=agent-07", "Freshness")
    expect(visitor.page.locator("tbody tr")).to_have_count(8)
    visitor.press("Show all")
    expect(visitor.page.locator("tbody tr")).to_have_count(50)
    assert not visitor.troubles


# Files


def test_a_file_that_is_made_appears_and_one_that_is_removed_goes(reader: Visitor, fed: Stack) -> None:
    """
    Without a reload, in the list, the totals and the folders; who is in a field stays in it.
    """
    reader.go("/files", "Files")
    expect(entry(reader, "readme.txt")).to_have_count(1)
    search = reader.page.get_by_label("Search below this folder")
    search.focus()
    entry(reader, "readme.txt").evaluate("e => { e.isOld = true }")
    (fed.tree / "hello.txt").write_text("hello")
    (fed.tree / "new folder").mkdir()
    expect(entry(reader, "hello.txt")).to_have_count(1)
    expect(reader.page.locator(".files-tree")).to_contain_text("new folder")
    assert entry(reader, "readme.txt").evaluate("e => e.isOld"), "what did not change was not made anew"
    expect(search).to_be_focused()
    (fed.tree / "hello.txt").unlink()
    (fed.tree / "new folder").rmdir()
    expect(entry(reader, "hello.txt")).to_have_count(0)
    expect(reader.page.locator(".files-tree")).not_to_contain_text("new folder")
    assert not reader.troubles


def test_down_into_folders_and_back(reader: Visitor, console: str) -> None:
    """
    By the list, by the folders, by the trail, by the browser's own buttons; the address says where one is.
    """
    reader.go("/files", "Files")
    reader.click(entry(reader, "docs").get_by_role("link"))
    expect(entry(reader, "big.bin")).to_have_count(1)
    expect(reader.page).to_have_url(f"{console}/files?tree=files&path=docs")
    tree = reader.page.locator(".files-tree")
    expect(tree.locator("[aria-current]")).to_have_text("docs")
    reader.click(tree.get_by_role("button", name="What is in docs"))
    reader.click(tree.get_by_role("link", name="old", exact=True))
    expect(entry(reader, "notes.txt")).to_have_count(1)
    crumbs = reader.page.get_by_role("navigation", name="Where you are")
    expect(crumbs).to_contain_text("docs")
    reader.click(crumbs.get_by_role("link", name="docs"))
    expect(entry(reader, "big.bin")).to_have_count(1)
    reader.page.go_back()
    expect(entry(reader, "notes.txt")).to_have_count(1)
    reader.page.go_back()
    expect(entry(reader, "big.bin")).to_have_count(1)
    reader.page.reload()
    expect(entry(reader, "big.bin")).to_have_count(1)
    reader.click(entry(reader, "big.bin").get_by_role("button", name="Details of big.bin"))
    dialog = reader.page.locator(".console-dialog:visible")
    expect(dialog).to_contain_text("docs/big.bin")
    expect(dialog).to_contain_text("488.3 KiB (500,000 bytes)")
    expect(dialog).to_contain_text("-rw-")
    reader.press("Close")
    expect(reader.page.locator(".console-dialog:visible")).to_have_count(0)
    assert not reader.troubles


def test_search_finds_parts_of_names_and_patterns(reader: Visitor) -> None:
    reader.go("/files", "Files")
    reader.fill("Search below this folder", "NOTES")
    expect(entry(reader, "notes.txt")).to_have_count(1)
    expect(entries(reader)).to_have_count(1)
    expect(entry(reader, "notes.txt")).to_contain_text("docs/old")
    reader.fill("Search below this folder", "*.bin")
    expect(entry(reader, "big.bin")).to_have_count(1)
    expect(entries(reader)).to_have_count(1)
    reader.fill("Search below this folder", "nothing is called so")
    reader.sees("Nothing below this folder has such a name.")
    reader.fill("Search below this folder", "")
    expect(entry(reader, "readme.txt")).to_have_count(1)
    reader.fill("Search below this folder", "notes")
    reader.click(entry(reader, "notes.txt").get_by_role("link", name="docs/old"))
    expect(entries(reader)).to_have_count(1)
    expect(reader.page.get_by_label("Search below this folder")).to_have_value("")
    assert not reader.troubles


def test_the_largest_area_leads_down(reader: Visitor, console: str) -> None:
    """
    By a click on it, and by the table beside it.
    """
    reader.go("/files", "Files")
    reader.click(reader.page.get_by_role("tab", name="Sizes"))
    chart = reader.page.locator(".sizes-chart canvas")
    expect(chart).to_be_visible()
    expect(entry(reader, "docs")).to_contain_text("490.2 KiB")
    box = chart.bounding_box()
    assert box is not None

    down = f"{console}/files?tree=files&path=docs"

    def is_down() -> bool:
        # What is drawn on a canvas can't be asked for: a click counts once the area is there.
        reader.page.mouse.click(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
        with contextlib.suppress(NotInTime):
            reader.page.wait_for_url(down, timeout=5_000)
        return reader.page.url == down

    wait_for("the area leads down", is_down)
    expect(entry(reader, "big.bin")).to_contain_text("99.6 %")
    reader.click(entry(reader, "old").get_by_role("link"))
    expect(entry(reader, "notes.txt")).to_contain_text("100.0 %")
    assert not reader.troubles


def test_the_time_line_counts_and_tells_what_comes(reader: Visitor, fed: Stack) -> None:
    """
    Files by when they were modified, older ones beside them; changes show as they come.
    """
    old = fed.tree / "ancient.txt"
    old.write_text("x")
    os.utime(old, (0, 400 * 86_400))
    reader.go("/files", "Files")
    expect(entry(reader, "ancient.txt")).to_have_count(1)
    reader.click(reader.page.get_by_role("tab", name="Changes"))
    reader.sees("1 before that")
    chart = reader.page.locator(".times")
    expect(chart).to_have_attribute("aria-label", re.compile(r"^\d+ files modified in the last 30 days$"))
    before = int((chart.get_attribute("aria-label") or "").split()[0])
    expect(reader.page.locator(".times-bar")).to_have_count(30)
    reader.sees("Nothing has changed since you came here.")
    (fed.tree / "just now.txt").write_text("x")
    reader.sees("just now.txt")
    expect(chart).to_have_attribute("aria-label", f"{before + 1} files modified in the last 30 days")
    reader.click(reader.page.get_by_text("As a table"))
    expect(reader.page.get_by_role("columnheader", name="From")).to_be_visible()
    reader.click(reader.page.get_by_role("combobox", name="Modified in"))
    reader.click(reader.page.get_by_role("option", name="the last hour"))
    expect(reader.page.locator(".times-bar")).to_have_count(60)
    for name in ("ancient.txt", "just now.txt"):
        (fed.tree / name).unlink()
    expect(reader.page.get_by_role("row").filter(has_text="went")).not_to_have_count(0)
    assert not reader.troubles


def test_odd_names_are_shown_as_they_are_not_run_and_lead_where_they_should(reader: Visitor, fed: Stack) -> None:
    """
    Scripts, line ends, bytes that are not UTF-8, spaces at the ends, and characters that turn the reading direction.
    """
    script = HOSTILE.replace("/", "\u2215")
    folder = fed.tree / f"odd {script}\nend "
    folder.mkdir()
    names = (b"bad\xff.txt", b"two\nlines", b" ends ", "evil\u202etxt.exe".encode(), script.encode())
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"xxx")
    reader.go("/files", "Files")
    expect(entry(reader, "odd <img")).to_contain_text(f"odd {script}\\x0aend\\x20")
    reader.click(entry(reader, "odd <img").get_by_role("link"))
    for shown in (r"bad\xff.txt", r"two\x0alines", r"\x20ends\x20", r"evil\u202etxt.exe", script):
        expect(entry(reader, shown)).not_to_have_count(0)
    reader.page.reload()
    reader.is_at("Files")
    expect(entries(reader)).to_have_count(len(names))
    reader.click(entry(reader, r"bad\xff.txt").get_by_role("button"))
    expect(reader.page.locator(".console-dialog:visible")).to_contain_text("3 bytes")
    reader.press("Close")
    reader.fill("Search below this folder", "<script>")
    expect(entries(reader)).to_have_count(1)
    for tab in ("Sizes", "Changes"):
        reader.click(reader.page.get_by_role("tab", name=tab))
        expect(reader.page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        for name in names[:2]:
            Path(os.fsdecode(os.fsencode(folder) + b"/" + name)).write_bytes(b"longer than before")
    reader.sees(r"two\x0alines")
    assert reader.page.evaluate("() => window.wasRun") is None
    assert not reader.troubles
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()


def test_a_folder_of_a_hundred_thousand_entries(
    visit: Visit, console: str, fed: Stack, new_key: Callable[..., Key]
) -> None:
    """
    A page at a time, cut by the service: the window holds a hundred rows, in every order, and what is asked for is answered while more
    entries come.
    """
    key = new_key("ingest", "read", datastore="large").key or ""
    sender = Sender(fed.fusion.url, key, "large")
    sender.files("file:///large", [{"path": "", "type": "dir"}, {"path": "all", "type": "dir"}])
    now = time.time_ns()
    sender.files(
        "file:///large",
        [{"path": f"all/file-{at:06}", "size": at, "mtime": now - at * 10**9} for at in range(100_000)],
    )
    visitor = visit(console)
    visitor.sign_in(key=key)
    visitor.is_at("Overview")
    visitor.go("/files?tree=large&path=all", "Files")
    expect(entries(visitor)).to_have_count(100)
    visitor.sees("100,000 files")
    expect(entries(visitor).first).to_contain_text("file-000000")
    visitor.press("Next")
    expect(entries(visitor).first).to_contain_text("file-000100")
    sender.files("file:///large", [{"path": f"all/more-{at:06}", "size": 1} for at in range(5_000)])
    visitor.sees("105,000 files")
    expect(entries(visitor).first).to_contain_text("file-000100")
    visitor.click(visitor.page.get_by_role("button", name="Size", exact=True))
    visitor.click(visitor.page.get_by_role("button", name="Size", exact=True))
    expect(entries(visitor).first).to_contain_text("file-099999")
    expect(entries(visitor)).to_have_count(100)
    visitor.fill("Search below this folder", "file-05")
    expect(entries(visitor)).to_have_count(100)
    visitor.click(visitor.page.get_by_role("tab", name="Sizes"))
    expect(visitor.page.locator(".sizes-table tbody tr")).to_have_count(60)
    visitor.click(visitor.page.get_by_role("tab", name="Changes"))
    expect(visitor.page.locator(".times")).to_have_attribute("aria-label", re.compile(r"^100,000 files modified"))
    assert visitor.page.evaluate("() => document.querySelectorAll('*').length") < 6_000
    sender.close()
    assert not visitor.troubles


# For everybody


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_every_page(visit: Visit, fed: Stack, console: str, theme: str) -> None:
    """
    axe finds nothing serious; nothing is wider than its window; everything is in the language that was chosen.
    """

    def tabs_of_the_files(visitor: Visitor, how: str) -> list[str]:
        found: list[str] = []
        visitor.go("/files", PAGES["/files"][("en", "zh").index(visitor.language)])
        for number in (1, 2):
            tab = visitor.page.get_by_role("tab").nth(number)
            visitor.click(tab)
            expect(tab).to_have_attribute("aria-selected", "true")
            found += visitor.problems(f"tab {number} of the files {how}")
        return found

    problems = tour(visit, console, PAGES, theme, {"key": fed.key}, tabs_of_the_files)
    assert not problems, "\n".join(problems)


def test_the_keyboard_alone_leads_down_into_a_folder(reader: Visitor, console: str) -> None:
    """
    Tab reaches the folder, Enter goes there, and one is at the name of the folder then, not at the top of the page.
    """
    reader.go("/files", "Files")
    expect(entry(reader, "docs")).to_have_count(1)
    page = reader.page
    for _ in range(60):
        page.keyboard.press("Tab")
        if (
            page.evaluate("() => !!document.activeElement.closest('.entries td') && document.activeElement.innerText")
            == "docs"
        ):
            break
    else:
        pytest.fail("the folder can't be reached by Tab")
    page.keyboard.press("Enter")
    expect(entry(reader, "big.bin")).to_have_count(1)
    expect(page).to_have_url(f"{console}/files?tree=files&path=docs")
    expect(page.locator(".files-crumbs [aria-current]")).to_be_focused()
    page.keyboard.press("Tab")
    assert page.evaluate("() => !!document.activeElement.closest('.files-main')")


def test_a_tree_that_is_looked_at_as_a_table_is_filtered_without_a_count(fed: Stack, reader: Visitor) -> None:
    """
    The rows that fit are shown, and no error is told; that stays so while rows change.
    """
    reader.go("/tables", "Tables")
    reader.click(reader.page.get_by_role("link", name="files", exact=True).first)
    reader.is_at("Table")
    reader.click(reader.page.get_by_role("combobox", name="Column", exact=True))
    reader.click(reader.page.get_by_role("option", name="type", exact=True))
    reader.fill("Value", "dir")
    reader.press("Add filter")
    reader.sees("The rows that fit; of a tree they are not counted.")
    expect(reader.page.get_by_role("alert").filter(has_text="not found")).to_have_count(0)
    expect(reader.page.get_by_role("row").filter(has_text="readme.txt")).to_have_count(0)
    expect(reader.page.get_by_role("row").filter(has_text="docs").first).to_be_visible()
    (fed.tree / "in the filter").mkdir()
    expect(reader.row("in the filter").first).to_be_visible()
    (fed.tree / "in the filter").rmdir()
    expect(reader.row("in the filter")).to_have_count(0)
    reader.sees("The rows that fit; of a tree they are not counted.")
