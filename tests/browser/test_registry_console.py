"""
The Registry's pages, as people use them, on a real Registry.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx
import pytest
from harness.browser import Visitor, tour
from harness.stack import Service, wait_for
from playwright.sync_api import expect

from fustor_client import RegistryClient
from fustor_client.models import AgentSync

ADMIN = {"name": "admin", "password": "correct-horse-battery-staple"}
HOSTILE = '<img src=x onerror="window.wasRun=1"><script>window.wasRun=1</script>'
PAGES = {
    "/": ("Datastores", "数据存储"),
    "/keys": ("API keys", "API 密钥"),
    "/agents": ("Agents", "Agent"),
    "/users": ("Users", "用户"),
    "/audit": ("Audit trail", "审计记录"),
    "/account": ("Your account", "我的账户"),
}

Visit = Callable[..., Visitor]


@pytest.fixture
def console(registry: Service) -> str:
    return f"{registry.url}/console"


@pytest.fixture
def admin(visit: Visit, console: str) -> Visitor:
    visitor = visit(console)
    visitor.sign_in(**ADMIN)
    visitor.is_at("Datastores")
    return visitor


def shown_secret(visitor: Visitor) -> str:
    """
    Read the secret that is shown once, and close its dialog.
    """
    secret = visitor.page.locator("[data-secret]:visible").inner_text()
    visitor.press("Done")
    return secret


def make_datastore(visitor: Visitor, name: str) -> None:
    visitor.go("/", "Datastores")
    visitor.press("New datastore")
    visitor.fill("Name", name)
    visitor.press("Create")
    expect(visitor.row(name)).to_have_count(1)


def make_user(visitor: Visitor, name: str) -> str:
    """
    Make a user; return the first password.
    """
    visitor.go("/users", "Users")
    visitor.press("New user")
    visitor.fill("User name", name)
    visitor.press("Create")
    return shown_secret(visitor)


def test_the_root_leads_to_the_sign_in_and_on_to_the_page_that_was_asked_for(visit: Visit, registry: Service) -> None:
    """
    A wrong password is told, and what was filled in stays; the right one leads on.
    """
    visitor = visit(f"{registry.url}/console")
    visitor.page.goto(registry.url)
    expect(visitor.page).to_have_url(f"{registry.url}/console/sign-in?next=%2F")
    visitor.page.goto(f"{registry.url}/console/keys")
    visitor.page.fill("#name", "admin")
    visitor.page.fill("#password", "wrong")
    visitor.page.click("button[type=submit]")
    expect(visitor.page.get_by_role("alert")).to_be_visible()
    expect(visitor.page.locator("#name")).to_have_value("admin")
    visitor.page.fill("#password", ADMIN["password"])
    visitor.page.click("button[type=submit]")
    visitor.is_at("API keys")
    assert not visitor.troubles


def test_a_wrong_password_is_told_in_chinese(visit: Visit, console: str) -> None:
    """
    What the service says is told in the language of the page, as the page itself is.
    """
    visitor = visit(console, language="zh")
    visitor.sign_in(name="admin", password="wrong")
    expect(visitor.page.get_by_role("alert").locator("p")).to_have_text(["用户名或密码错误", "请检查两者后重试"])


def test_the_sign_in_leads_nowhere_else(visit: Visit, console: str) -> None:
    """
    An address that names another place to go on to does not lead there.
    """
    for elsewhere in ("//evil.test/", "https://evil.test/", "/\\evil.test"):
        visitor = visit(console)
        visitor.page.goto(f"{console}/sign-in?next={elsewhere}")
        visitor.page.fill("#name", ADMIN["name"])
        visitor.page.fill("#password", ADMIN["password"])
        visitor.page.click("button[type=submit]")
        visitor.is_at("Datastores")
        assert not visitor.troubles


def test_a_form_of_another_page_signs_nobody_in(console: str) -> None:
    answer = httpx.post(f"{console}/sign-in", data=ADMIN, headers={"Origin": "http://evil.test"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_key_is_shown_once_works_and_is_refused_once_it_is_revoked(admin: Visitor, registry: Service) -> None:
    """
    From nothing to a key that opens a datastore, and back.
    """

    def is_valid(key: str) -> bool:
        answer = httpx.post(f"{registry.url}/api/v1/keys/verify", json={"key": key})
        return bool(answer.json()["valid"])

    make_datastore(admin, "lab")
    admin.go("/keys", "API keys")
    admin.press("New API key")
    admin.fill("Name", "agent one")
    admin.press("Create")
    key = shown_secret(admin)
    assert is_valid(key)
    expect(admin.row("agent one")).to_contain_text("valid")
    admin.page.reload()
    admin.is_at("API keys")
    assert key not in admin.page.content(), "it was shown once"
    admin.press("Rotate agent one")
    admin.press("Rotate")
    newer = shown_secret(admin)
    assert newer != key and is_valid(newer) and is_valid(key), "the old one goes on for a day"
    expect(admin.row("agent one")).to_have_count(2)
    expect(admin.row("replaced").get_by_role("button")).to_have_text(["Revoke"])
    expect(admin.row("replaced")).to_contain_text(re.compile(r"UTC\s*works until then"))
    by = admin.row("valid").filter(has_text="agent one").get_by_role("cell").nth(1).inner_text()
    expect(admin.row("replaced")).to_contain_text(f"by {by}")
    admin.click(admin.row("valid").get_by_role("button", name="Revoke agent one"))
    revoke = admin.page.locator(".console-dialog:visible").get_by_role("button", name="Revoke", exact=True)
    expect(revoke).to_be_disabled()
    admin.click(admin.page.get_by_text("Yes, I am sure."))
    admin.press("Revoke")
    expect(admin.row("agent one")).to_have_count(1)
    assert not is_valid(newer)
    admin.go("/audit", "Audit trail")
    revoked = admin.row("agent one").filter(has_text="API key revoked")
    expect(revoked).to_contain_text(re.compile(r"agent one \([0-9a-f]{8}\)"))
    expect(revoked).to_contain_text(re.compile(r"Revoked at: — → \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC"))
    made = admin.row("agent one").filter(has_text="API key created")
    expect(made).to_contain_text(re.compile(r"Datastore: lab \([0-9a-f]+\)\s*Scopes: ingest, read"))
    expect(made).not_to_contain_text("Replaced by")
    assert not admin.troubles


def test_the_audit_trail_is_said_and_narrowed_in_words(admin: Visitor, visit: Visit, console: str) -> None:
    """
    What was done is chosen from a list, who did it is typed; in Chinese all of it is Chinese.
    """
    make_datastore(admin, "told plainly")
    make_user(admin, "cho")
    admin.go("/audit", "Audit trail")
    expect(admin.row("told plainly")).to_contain_text("Datastore created")
    admin.click(admin.page.get_by_label("What was done"))
    admin.click(admin.page.get_by_role("option", name="All about users"))
    expect(admin.row("told plainly")).to_have_count(0)
    expect(admin.row("cho")).to_contain_text("User created")
    admin.fill("Who", "nobody of this name")
    admin.sees("Nothing was changed that you may see, or nothing matches.")
    reader = visit(console, language="zh")
    reader.sign_in(**ADMIN)
    reader.go("/audit", "审计记录")
    expect(reader.row("cho")).to_contain_text("创建用户")
    expect(reader.row("cho")).to_contain_text("角色：成员")
    assert not admin.troubles + reader.troubles


def test_nobody_is_offered_what_the_service_refuses(admin: Visitor) -> None:
    """
    The last admin can be neither disabled nor deleted nor made something else; once there is another one, each can.
    """
    admin.go("/users", "Users")
    mine = admin.page.get_by_role("row").filter(has=admin.page.get_by_role("cell", name="admin", exact=True).first)
    expect(mine.first.get_by_role("button")).to_have_text(["Set password"])
    make_user(admin, "second")
    admin.go("/users", "Users")
    admin.click(admin.row("second").get_by_role("button", name="Change the role of second"))
    admin.click(admin.page.locator(".console-dialog:visible").get_by_label("Role"))
    admin.click(admin.page.get_by_role("option", name="admin", exact=True))
    admin.press("Save")
    expect(mine.first.get_by_role("button")).to_have_text(["Change role", "Set password", "Disable", "Delete"])
    admin.click(admin.row("second").get_by_role("button", name="Delete second"))
    admin.click(admin.page.get_by_text("Yes, I am sure."))
    admin.press("Delete")
    expect(mine.first.get_by_role("button")).to_have_text(["Set password"])
    assert not admin.troubles


def test_sessions_say_with_which_browser(admin: Visitor) -> None:
    admin.go("/account", "Your account")
    expect(admin.row("this session")).to_contain_text(re.compile(r"Chrome \d+ on Linux"))
    said = admin.row("this session").locator("[title]").get_attribute("title")
    assert said is not None and said.startswith("Mozilla/")


def test_what_an_agent_says_of_its_syncs_is_said_in_words(admin: Visitor, visit: Visit, registry: Service) -> None:
    """
    Names of states are for programs.
    """
    make_datastore(admin, "in words")
    with RegistryClient(registry.url) as client:
        client.login(**ADMIN)
        store = next(one for one in client.datastores() if one.name == "in words")
        key = client.create_key("agent", store.id, scopes=["ingest"]).key
        syncs = [AgentSync("orders", "MESSAGE_SYNC|SNAPSHOT_SYNC"), AgentSync("files", "STARTING|ERROR")]
        syncs.append(AgentSync("archive", "STARTING|RETRYING"))
        client.report_agent(key, "in-words", version="1", host="lab-1", syncs=syncs)
    admin.go("/agents", "Agents")
    expect(admin.row("in-words").locator(".cell-syncs > div")).to_have_text(
        ["orderslive, copying", "filesfailed", "archivetrying again"]
    )
    admin.click(admin.page.get_by_text("What the states mean"))
    admin.sees("Something is in its way, and it tries again by itself.")
    reader = visit(f"{registry.url}/console", language="zh")
    reader.sign_in(**ADMIN)
    reader.go("/agents", "Agent")
    expect(reader.row("in-words").locator(".cell-syncs > div")).to_have_text(
        ["orders实时同步，快照进行中", "files出错", "archive重试中"]
    )


def test_a_first_password_is_changed_before_anything_else_and_a_member_sees_what_is_theirs(
    admin: Visitor, visit: Visit, console: str
) -> None:
    """
    Somebody new signs in with the password they were given, chooses one, and sees no datastore of others, no users.
    """
    make_datastore(admin, "secret stuff")
    make_datastore(admin, "shared")
    password = make_user(admin, "ann")
    admin.go("/", "Datastores")
    admin.click(admin.row("shared").get_by_role("button", name="Members"))
    admin.is_at("Members of a datastore")
    admin.press("Add a member, or change one")
    admin.fill("User name", "ann")
    admin.press("Save")
    expect(admin.row("ann")).to_contain_text("member")
    ann = visit(console)
    ann.sign_in(name="ann", password=password)
    ann.is_at("Your account")
    ann.page.goto(f"{console}/keys")
    ann.is_at("Your account")
    ann.fill("Current password", password)
    ann.fill("New password", "short")
    ann.press("Change your password")
    expect(ann.page.locator(".q-field--error")).to_contain_text("at least 8 characters")
    ann.fill("New password", "a-password-of-my-own")
    ann.fill("Repeat new password", "a-password-of-my-ovn")
    ann.press("Change your password")
    ann.sees("The two are not the same.")
    ann.fill("Repeat new password", "a-password-of-my-own")
    ann.press("Change your password")
    ann.is_at("Datastores")
    expect(ann.row("shared")).to_have_count(1)
    assert "secret stuff" not in ann.page.content()
    expect(ann.page.get_by_role("button", name="New datastore")).to_have_count(0)
    expect(ann.page.get_by_role("navigation").get_by_text("Users")).to_have_count(0)
    ann.go("/users", "Users")
    ann.sees("Only admins see this page.")
    ann.go("/audit", "Audit trail")
    assert "secret stuff" not in ann.page.content()
    assert not ann.troubles


def test_names_with_scripts_are_shown_as_they_are_and_not_run(admin: Visitor) -> None:
    """
    Whatever people or machines name things, it is text.
    """
    make_datastore(admin, "harmless")
    admin.click(admin.row("harmless").get_by_role("button", name="Change"))
    admin.fill("Description", HOSTILE)
    admin.press("Save")
    expect(admin.row("harmless")).to_contain_text(HOSTILE)
    admin.go("/audit", "Audit trail")
    admin.sees("onerror")
    assert admin.page.evaluate("() => window.wasRun") is None
    assert not admin.troubles


def test_who_signs_out_is_out_and_the_token_too(admin: Visitor, console: str) -> None:
    cookies = {one["name"]: one["value"] for one in admin.page.context.cookies()}
    mine = next(one for one in admin.page.context.cookies() if one["name"] == "fustor_registry_console")
    assert mine["httpOnly"] and mine["sameSite"] == "Lax"
    admin.press("Sign out")
    expect(admin.page).to_have_url(f"{console}/sign-in")
    again = httpx.get(f"{console}/", cookies=cookies, follow_redirects=False)
    assert again.status_code == 303 and "/sign-in" in again.headers["location"]


def test_sessions_end_when_nobody_does_anything(visit: Visit, tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    Also of a page that asks by itself: it leads to the sign-in, and back to where one was.
    """
    service = Service(
        "registry",
        tmp_path_factory.mktemp("short"),
        {"FUSTOR_REGISTRY_ADMIN_PASSWORD": ADMIN["password"], "FUSTOR_REGISTRY_CONSOLE_IDLE_S": "8"},
    )
    service.start()
    try:
        visitor = visit(f"{service.url}/console")
        visitor.sign_in(**ADMIN)
        visitor.is_at("Datastores")
        visitor.page.goto(f"{service.url}/console/agents")
        expect(visitor.page).to_have_url(re.compile(r"/sign-in\?next=%2Fagents"), timeout=60_000)
        visitor.page.goto(f"{service.url}/console/keys")
        expect(visitor.page).to_have_url(re.compile("/sign-in"))
    finally:
        service.stop()


def test_the_log_holds_neither_passwords_nor_keys(admin: Visitor, registry: Service) -> None:
    make_datastore(admin, "logged")
    admin.go("/keys", "API keys")
    admin.press("New API key")
    admin.fill("Name", "for the log")
    admin.press("Create")
    key = shown_secret(admin)
    password = make_user(admin, "bob")
    written = wait_for("the log has lines", lambda: registry.tail(10_000))
    for secret in (key, password, ADMIN["password"]):
        assert secret not in written
    assert "Traceback" not in written


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_every_page(admin: Visitor, visit: Visit, console: str, theme: str) -> None:
    """
    axe finds nothing serious; nothing is wider than its window; everything is in the language that was chosen.
    """
    make_datastore(admin, f"for all {theme}")
    problems = tour(visit, console, PAGES, theme, ADMIN)
    assert not problems, "\n".join(problems)


def test_the_keyboard_alone_reaches_and_does_everything(admin: Visitor) -> None:
    """
    Tab leads from the top to the button, Enter opens its form and one is in its first field; Enter saves, Escape closes it.
    """
    admin.go("/", "Datastores")
    page = admin.page
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.innerText").strip().endswith("New datastore"):
            break
    else:
        pytest.fail("the button can't be reached by Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".console-dialog:visible").get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.type("by keyboard")
    page.keyboard.press("Enter")
    expect(admin.row("by keyboard")).to_have_count(1)
    expect(page.locator(".console-dialog:visible")).to_have_count(0)
    admin.press("New datastore")
    expect(page.locator(".console-dialog:visible").get_by_label("Name", exact=True)).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator(".console-dialog:visible")).to_have_count(0)
