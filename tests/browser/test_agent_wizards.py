"""
Somebody without training connects a folder and databases, and starts syncs, on a real Agent, Fusion, MariaDB and PostgreSQL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.browser import NARROW, WIDE, Visitor
from harness.stack import Stack, free_port, wait_for
from harness.wizards import (
    CARDS,
    PICKY,
    THIRD_PARTY,
    Server,
    Visit,
    api,
    at,
    begin,
    driver_of,
    expect_ticks,
    fill_in,
    go_on,
    go_on_to_the_dashboard,
    install,
    is_live,
    literal,
    log_of,
    make_up_a_password,
    primary,
    quoted,
    run,
    schema_of,
    sent_rows,
    signed_in,
)
from playwright.sync_api import expect

from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER

HOSTILE = '<img src=x onerror="window.wasRun=1"><script>window.wasRun=1</script>'
STRANGE = '<b onclick="x()">[1] it\'s'
"""
A name for tables and columns.
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """
    Registry, Fusion, and an Agent that has a pusher to it and nothing else; with two drivers of others, one of them broken.
    """
    folder = tmp_path_factory.mktemp("wizards")
    site = folder / "site"
    install(site, "acme-counts", "acme_counts", THIRD_PARTY, "Counts")
    install(site, "acme-library", "acme_library", "import no_such_library\n", "Driver")
    install(site, "acme-picky", "acme_picky", PICKY, "Picky", "pusher")
    made = Stack(folder, folder / "tree", agent_env={"PYTHONPATH": str(site)})
    pusher = made.fusion_pusher()
    made.agent.start()
    api(made, "POST", "configs/pushers", {"id": "fusion", "entry": {**pusher, "max_retries": 0, "disabled": False}})
    yield made
    errors = [line for line in log_of(made.agent) if line.get("level") == "error" and line.get("logger") == "nicegui"]
    made.close()
    assert errors == [], "a page failed"


@pytest.fixture(scope="module")
def mariadb() -> Iterator[MariaDbServer]:
    made = MariaDbServer.start_new()
    made.sql("CREATE DATABASE shop")
    yield made
    made.close()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    made = PostgresServer.start_new()
    yield made
    made.close()


@pytest.fixture(params=["mariadb", "postgres"])
def server(request: pytest.FixtureRequest) -> Server:
    """
    A server with tables that nobody has connected yet.
    """
    made: Server = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def visitor(visit: Visit, stack: Stack) -> Visitor:
    return signed_in(visit, stack)


# -- from nothing to a running sync -----------------------------------------------------------------------------------


def test_from_a_folder_to_a_sync_that_runs(visitor: Visitor, stack: Stack) -> None:
    """
    A wrong path is said beside the field; patterns leave files out; what is shown is what arrives; changes follow.
    """
    tree = stack.tree
    tree.mkdir(exist_ok=True)
    for name in ("report.csv", "secret.key", f"{STRANGE.replace('/', '')}.csv"):
        (tree / name).write_text("x")
    begin(visitor, CARDS["fs"])
    visitor.fill("Directory", f"{tree}/nowhere")
    visitor.click(primary(visitor))
    visitor.sees("does not exist")
    expect(visitor.page.get_by_label("Directory", exact=True)).to_have_value(f"{tree}/nowhere")
    visitor.fill("Directory", str(tree))
    visitor.click(visitor.page.get_by_text("More settings"))
    visitor.fill("Leave out", "*.key")
    go_on(visitor, "Is everything in place?")
    expect_ticks(visitor)
    go_on(visitor, "Which tables, which columns?")
    visitor.sees("There is nothing to choose")
    go_on(visitor, "Is this the data that you meant?")
    expect(visitor.page.locator(".sample")).to_contain_text("report.csv")
    expect(visitor.page.locator(".sample")).to_contain_text(STRANGE)
    expect(visitor.page.locator(".sample")).not_to_contain_text("secret.key")
    go_on(visitor, "Give it a name")
    visitor.fill("Name of the source", "not a/name")
    visitor.click(primary(visitor))
    visitor.sees("can't be an id")
    visitor.fill("Name of the source", "papers")
    visitor.click(primary(visitor))
    visitor.sees("The source papers is saved.")
    visitor.press("Make a sync with it")
    visitor.is_at("New sync")
    at(visitor, "From where to where?")
    expect(visitor.page.get_by_label("Source", exact=True)).to_have_value(re.compile("papers"))
    go_on(visitor, "Which fields are sent, and under which names?")
    go_on(visitor, "Are rows to be changed on their way?")
    expect(visitor.page.locator(".wizard-preview")).to_contain_text("report.csv")
    go_on(visitor, "Ready to go")
    go_on_to_the_dashboard(visitor, "papers")
    entry = api(stack, "GET", "configs/sources/papers")
    assert entry["driver_params"] == {"exclude": ["*.key"]} and entry["uri"] == str(tree)

    def found(name: str) -> list[str]:
        answer = stack.http.get(
            f"{stack.fusion.url}/views/fs/search",
            params={"q": name, "tree": "papers"},
            headers={"X-API-Key": stack.key},
        )
        return [row["path"] for row in answer.json()["rows"]] if answer.status_code == 200 else []

    wait_for("the file is found", lambda: found("report.csv"), on_timeout=stack.tails)
    (tree / "later.csv").write_text("y")
    wait_for("the change is there", lambda: found("later.csv"), on_timeout=stack.tails)
    assert found("secret.key") == []
    assert not visitor.troubles


def test_from_a_database_to_rows_that_arrive(visitor: Visitor, stack: Stack, server: Server) -> None:
    """
    An account is made with an administrator's credential, which is nowhere afterwards; one table and its columns are chosen, rows are
    filtered and hidden on their way, and changes follow.
    """
    driver, schema = driver_of(server), schema_of(server)
    odd = quoted(server, STRANGE)
    run(
        server,
        f"CREATE TABLE orders (id INT PRIMARY KEY, email VARCHAR(80), state VARCHAR(10), total DECIMAL(10,2), {odd} VARCHAR(200))",
        "INSERT INTO orders VALUES "
        + ", ".join(f"({n}, 'c{n}@x.org', 'paid', {n}.5, {literal(HOSTILE)})" for n in range(1, 31)),
        "UPDATE orders SET state = 'draft' WHERE id > 20",
        f"CREATE TABLE {odd} (id INT PRIMARY KEY)",
        "CREATE TABLE not_chosen (id INT PRIMARY KEY)",
        "INSERT INTO not_chosen VALUES (1)",
    )
    begin(visitor, CARDS[driver])
    visitor.fill("Host", f"{'postgresql' if driver == 'postgres' else 'mysql'}://fustor_w@127.0.0.1:{server.port}/shop")
    made_up = make_up_a_password(visitor)
    visitor.click(primary(visitor))
    visitor.sees("does not let 'fustor_w' in")
    expect(visitor.page.get_by_label("Host", exact=True)).to_have_value("127.0.0.1")
    visitor.press("Make this account")
    at(visitor, "Is everything in place?")
    # Who makes it by hand has all that is needed; who has mistyped it is led back.
    visitor.sees("<password> stands for the password that you gave it")
    expect(visitor.page.locator(".check-line .console-code")).to_contain_text("<password>")
    expect(visitor.page.get_by_role("button", name="Copy the password")).to_be_visible()
    visitor.press("Back to user and password")
    at(visitor, "Where is it, and who reads it?")
    expect(visitor.page.get_by_label("Password", exact=True)).to_have_value(made_up)
    visitor.click(primary(visitor))
    visitor.press("Make this account")
    at(visitor, "Is everything in place?")
    visitor.fill("Administrator's user name", USER)
    visitor.fill("Administrator's password", "not-the-password")
    visitor.press("Make the account")
    visitor.sees("does not let 'admin' in")
    visitor.fill("Administrator's password", PASSWORD)
    visitor.press("Make the account")
    expect_ticks(visitor)
    go_on(visitor, "Which tables, which columns?")
    expect(visitor.row("orders")).to_contain_text("30")
    visitor.click(visitor.page.get_by_text("All tables, also those that are made later"))
    visitor.click(primary(visitor))
    visitor.sees("No table is chosen.")
    visitor.fill("Search", "ORDERS")
    expect(visitor.row("not_chosen")).to_have_count(0)
    visitor.click(visitor.page.get_by_label(f"Read {schema}.orders"))
    visitor.fill("Search", "")
    visitor.click(visitor.page.get_by_label(f"Read {schema}.{STRANGE}"))
    visitor.sees("2 of")
    visitor.press(f"Choose the columns of {schema}.orders")
    visitor.click(visitor.page.locator(".wizard-columns").get_by_text("total", exact=True))
    visitor.press("Use these columns")
    expect(visitor.row(f"{schema}.orders")).to_contain_text("4 of 5")
    go_on(visitor, "Is this the data that you meant?")
    sample = visitor.page.locator(".sample")
    expect(sample).to_contain_text("c1@x.org")
    expect(sample).to_contain_text(HOSTILE)
    expect(sample.get_by_text("total", exact=True)).to_have_count(0)
    go_on(visitor, "Give it a name")
    name = f"{driver}-shop"
    visitor.fill("Name of the source", name)
    visitor.click(primary(visitor))
    visitor.press("Make a sync with it")
    visitor.is_at("New sync")
    go_on(visitor, "Which fields are sent, and under which names?")
    go_on(visitor, "Are rows to be changed on their way?")
    visitor.press("Keep only some rows")
    visitor.fill("Keep rows for which this is true", "state == 'paid' and nothing_like_it == 1")
    visitor.sees("reads 'nothing_like_it', and there is no such field")
    visitor.fill("Keep rows for which this is true", "state != 'draft'")
    # What was told of the mistake goes, and what is below it moves: a click meanwhile may miss.
    expect(visitor.page.get_by_text("reads 'nothing_like_it'").filter(visible=True)).to_have_count(0)
    visitor.press("Mask field values")
    expect(visitor.page.locator(".wizard-change")).to_have_count(2)
    field = visitor.page.locator(".wizard-change").nth(1).get_by_label("Fields", exact=True)
    field.fill("email")
    visitor.click(visitor.page.get_by_role("option", name="email", exact=True))
    after = visitor.page.get_by_role("region", name="After")
    expect(after.get_by_text("***", exact=True).first).to_be_visible()
    assert "c1@x.org" not in after.inner_text()
    go_on(visitor, "Ready to go")
    go_on_to_the_dashboard(visitor, name)
    wait_for("rows are there", lambda: len(sent_rows(stack, name, schema, "orders")) == 20, on_timeout=stack.tails)
    row = sent_rows(stack, name, schema, "orders")[0]
    assert row["email"] == "***" and row[STRANGE] == HOSTILE and "total" not in row
    run(server, "UPDATE orders SET state = 'draft' WHERE id = 1")
    wait_for("the change is there", lambda: len(sent_rows(stack, name, schema, "orders")) == 19, on_timeout=stack.tails)
    assert sent_rows(stack, name, schema, "not_chosen") == []
    assert visitor.page.evaluate("() => window.wasRun") is None
    assert not visitor.troubles

    # The administrator's password is nowhere.
    for page, title in (("/sources/new", "New source"), ("/logs", "Log"), ("/revisions", "Revisions")):
        visitor.go(page, title)
        assert PASSWORD not in visitor.page.content()
    kept = [path for path in stack.agent.folder.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    assert kept == []
    revisions = api(stack, "GET", "configs/revisions")["rows"]
    texts = [api(stack, "GET", f"configs/revisions/{one['id']}")["text"] for one in revisions]
    assert not any(PASSWORD in text for text in texts)
    assert any(name in text for text in texts)


# -- what is wrong is said where it is wrong --------------------------------------------------------------------------


def test_a_server_that_is_not_there_is_said_beside_its_address(visitor: Visitor, server: Server) -> None:
    begin(visitor, CARDS[driver_of(server)])
    visitor.click(primary(visitor))
    visitor.sees("This is needed.")
    fill_in(visitor, server, "somebody", "something")
    visitor.fill("Port", str(free_port()))
    visitor.click(primary(visitor))
    host = visitor.page.locator(".wizard-address .q-field", has=visitor.page.get_by_label("Host", exact=True))
    expect(host).to_contain_text("refused")
    expect(visitor.page.get_by_role("button", name="Make this account")).to_have_count(0)
    expect(visitor.page.get_by_label("Password", exact=True)).to_have_value("something")


def test_an_address_that_is_pasted_or_typed_is_split_before_the_step_is_left(visitor: Visitor) -> None:
    """
    What the other fields show is what is used: the port of the address, not the usual one beside it.
    """
    page = visitor.page

    def shows(**wanted: str) -> None:
        for label, value in wanted.items():
            expect(page.get_by_label(label, exact=True)).to_have_value(value)

    begin(visitor, CARDS["mysql"])
    shows(Port="3306")
    visitor.fill("Host", "mysql://reader:a%20secret@127.0.0.1:56251/shop")
    shows(Host="127.0.0.1", Port="56251", Database="shop", User="reader", Password="a secret")
    host = page.get_by_label("Host", exact=True)
    typed = "mysql://writer@db.example:4406/stock"
    host.fill("")
    host.press_sequentially(typed)
    shows(Host=typed)
    host.press("Tab")
    shows(Host="db.example", Port="4406", Database="stock", User="writer")
    visitor.fill("Host", "mysql://db.example:port/stock")
    visitor.sees("This address can't be read.")
    visitor.fill("Host", "db.example")
    expect(page.get_by_text("This address can't be read.").filter(visible=True)).to_have_count(0)
    assert not visitor.troubles


def test_what_an_account_lacks_is_said_with_the_sql_that_mends_it(visitor: Visitor, server: Server) -> None:
    """
    The SQL on the page, run as it is, turns the cross into a tick; going back and on again loses nothing.
    """
    account = f"poor_{driver_of(server)}"
    made = (
        f"CREATE ROLE {account} LOGIN PASSWORD 'pw-of-poor'"
        if isinstance(server, PostgresServer)
        else f"CREATE USER {account}@'%' IDENTIFIED BY 'pw-of-poor'"
    )
    run(server, f"CREATE TABLE of_{account} (id INT PRIMARY KEY)", made)
    if not isinstance(server, PostgresServer):
        run(server, f"GRANT SELECT ON shop.* TO {account}@'%'")
    begin(visitor, CARDS[driver_of(server)])
    fill_in(visitor, server, account, "pw-of-poor")
    go_on(visitor, "Is everything in place?")
    visitor.sees("lacks")
    expect(visitor.page.get_by_role("button", name="Check again")).to_be_visible()
    visitor.press("Back")
    at(visitor, "Where is it, and who reads it?")
    expect(visitor.page.get_by_label("User", exact=True)).to_have_value(account)
    go_on(visitor, "Is everything in place?")
    visitor.sees("lacks")
    sql = visitor.page.locator(".check-line .console-code").first.inner_text()
    visitor.click(visitor.page.get_by_role("button", name="Copy what mends it").first)
    visitor.sees("Copied.")
    server.sql(sql)
    visitor.click(primary(visitor))
    expect_ticks(visitor)
    assert not visitor.troubles


def test_a_broken_driver_says_why_and_one_of_others_works(visitor: Visitor, stack: Stack) -> None:
    """
    A driver that lists no tables and has a form of its own goes the same way.
    """
    visitor.go("/sources/new", "New source")
    broken = visitor.page.get_by_role("group").filter(has_text="acme_library")
    expect(broken).to_contain_text("No module named 'no_such_library'")
    card = visitor.page.get_by_role("button", name="acme_counts")
    expect(card).to_contain_text("Counts what <b>there</b> is.")
    expect(card).to_contain_text("from the package acme-counts")
    visitor.click(card)
    visitor.fill("Where", "acme://nowhere")
    visitor.click(primary(visitor))
    visitor.sees("No such host")
    visitor.fill("Where", "acme://here")
    visitor.click(visitor.page.get_by_label("Region of the shop"))
    visitor.click(visitor.page.get_by_role("option", name="us"))
    visitor.fill("Token", "token-of-acme")
    go_on(visitor, "Is everything in place?")
    expect(visitor.page.locator(".check-good")).to_have_count(1)
    go_on(visitor, "Which tables, which columns?")
    go_on(visitor, "Is this the data that you meant?")
    expect(visitor.page.locator(".sample")).to_contain_text("us")
    go_on(visitor, "Give it a name")
    visitor.click(primary(visitor))
    visitor.sees("The source here is saved.")
    entry = api(stack, "GET", "configs/sources/here")
    assert entry["driver_params"] == {"region": "us"} and entry["credential"] == {"key": "***"}


# -- the sync's fields and steps --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def letters(stack: Stack, postgres: PostgresServer) -> str:
    """
    A configured source with a table of three rows.
    """
    postgres.sql("CREATE DATABASE letters", "postgres")
    postgres.sql(
        "CREATE TABLE mail (id INT PRIMARY KEY, subject TEXT, body TEXT, size INT);"
        "INSERT INTO mail VALUES (1, 'one', 'a', 10), (2, 'two', 'b', 20), (3, 'three', NULL, 30)",
        "letters",
    )
    source = {
        "driver": "postgres",
        "uri": postgres.uri("letters"),
        "credential": {"user": USER, "passwd": PASSWORD},
        "max_retries": 0,
    }
    api(stack, "POST", "configs/sources", {"id": "letters", "entry": source})
    return "letters"


def test_fields_are_chosen_and_renamed_and_the_sync_is_changed_later(
    visitor: Visitor, stack: Stack, letters: str
) -> None:
    """
    A source that is disabled is enabled with the start. What another window has changed meanwhile is not overwritten.
    """
    visitor.go(f"/syncs/new?source={letters}", "New sync")
    go_on(visitor, "Which fields are sent, and under which names?")
    visitor.click(visitor.page.get_by_text("Choose fields, and give them other names"))
    visitor.click(visitor.page.get_by_label("Add all fields of a table"))
    visitor.click(visitor.page.get_by_role("option", name="public.mail"))
    lines = visitor.page.locator(".wizard-line")
    expect(lines).to_have_count(4)
    visitor.press("Leave out body")
    expect(lines).to_have_count(3)
    lines.nth(1).get_by_label("To", exact=True).fill("title")
    visitor.press("Add a field")
    visitor.click(primary(visitor))
    visitor.sees("This is needed.")
    visitor.press("Leave out this field")
    go_on(visitor, "Are rows to be changed on their way?")
    expect(visitor.page.get_by_role("region", name="After")).to_contain_text("title")
    go_on(visitor, "Ready to go")
    visitor.sees("letters is disabled now; it is enabled with the start.")
    visitor.fill("Name of the sync", "mail")
    go_on_to_the_dashboard(visitor, "mail")
    wait_for("rows are there", lambda: len(sent_rows(stack, "mail", "public", "mail")) == 3, on_timeout=stack.tails)
    assert {frozenset(row) - {"_version"} for row in sent_rows(stack, "mail", "public", "mail")} == {
        frozenset({"id", "title", "size"})
    }

    visitor.go("/syncs/mail/edit", "Edit sync: mail")
    go_on(visitor, "Which fields are sent, and under which names?")
    expect(visitor.page.locator(".wizard-line")).to_have_count(3)
    go_on(visitor, "Are rows to be changed on their way?")
    steps = visitor.page.locator(".wizard-change")
    for number, label, fields in (
        (1, "Add a computed field", {"Name of the new field": "kib", "Computed as": "size * 2"}),
        (2, "Add a field with a fixed value", {"Name of the new field": "origin", "Its value": HOSTILE}),
    ):
        visitor.press(label)
        expect(steps).to_have_count(number)
        for name, value in fields.items():
            steps.last.get_by_label(name, exact=True).fill(value)
    # Fields that steps make are sent only when the mapping names them: the preview shows that they are not.
    expect(visitor.page.get_by_role("region", name="After")).to_contain_text("title")
    visitor.press("Back")
    visitor.click(visitor.page.get_by_text("Choose fields, and give them other names"))
    go_on(visitor, "Are rows to be changed on their way?")
    expect(visitor.page.get_by_role("region", name="After")).to_contain_text(HOSTILE)
    visitor.press("Move step 2 up")
    expect(visitor.page.locator(".wizard-change").first).to_contain_text("Add a field with a fixed value")
    go_on(visitor, "Ready to go")
    api(stack, "POST", "configs/sources/letters/disable")
    visitor.click(primary(visitor))
    visitor.sees("Somebody has changed the configuration since this page was opened, so nothing was saved.")
    assert "transforms" not in api(stack, "GET", "configs/syncs/mail")
    api(stack, "POST", "configs/sources/letters/enable")
    visitor.go("/syncs/mail/edit", "Edit sync: mail")
    for heading in ("Which fields are sent, and under which names?", "Are rows to be changed on their way?"):
        go_on(visitor, heading)
    visitor.press("Leave fields out")
    field = visitor.page.locator(".wizard-change").get_by_label("Fields", exact=True)
    field.fill("body")
    visitor.click(visitor.page.get_by_role("option", name="body", exact=True))
    go_on(visitor, "Ready to go")
    go_on_to_the_dashboard(visitor, "mail")
    assert api(stack, "GET", "configs/syncs/mail")["transforms"] == [{"type": "drop", "fields": ["body"]}]
    wait_for("it goes on", lambda: is_live(stack, "mail"), on_timeout=stack.tails)
    visitor.go("/syncs/nothing/edit", "Edit sync: nothing")
    visitor.sees("There is no sync nothing.")
    assert visitor.page.evaluate("() => window.wasRun") is None
    assert not visitor.troubles


def test_a_preview_says_when_it_is_not_of_what_the_steps_say_now(visitor: Visitor, letters: str) -> None:
    visitor.go(f"/syncs/new?source={letters}&pusher=fusion", "New sync")
    go_on(visitor, "Which fields are sent, and under which names?")
    go_on(visitor, "Are rows to be changed on their way?")
    visitor.sees("All of these 3 rows would be sent.")
    preview = visitor.page.locator(".preview")
    expect(preview).to_have_attribute("aria-busy", "false")
    visitor.press("Keep only some rows")
    visitor.sees("Fill in the step to see what it does.")
    expect(preview).to_have_attribute("aria-busy", "false")
    visitor.fill("Keep rows for which this is true", "size > 10")
    visitor.sees("Working out the preview…")
    visitor.sees("Of these 3 rows, 2 would be sent and 1 filtered out.")
    expect(visitor.page.locator(".preview-status")).to_have_text("")
    expect(preview.locator("code")).to_have_text('ALTER TABLE "public"."mail" REPLICA IDENTITY FULL;')
    expect(preview).not_to_contain_text("binlog")
    assert not visitor.troubles


def test_the_fields_that_a_consumer_asks_for_are_mapped_by_name_or_by_hand(
    visitor: Visitor, stack: Stack, letters: str, tmp_path: Path
) -> None:
    """
    Fields of the same name, but for case, are joined by themselves; one that the consumer can't do without is asked for. Who leaves to make
    a pusher comes back to the source that was chosen.
    """
    out = tmp_path / "out.jsonl"
    visitor.go("/syncs/new", "New sync")
    visitor.click(visitor.page.get_by_label("Source", exact=True))
    visitor.click(visitor.page.get_by_role("option", name="letters"))
    visitor.press("New pusher")
    visitor.is_at("New pusher")
    entry = {"driver": "acme_picky", "endpoint": str(out), "max_retries": 0, "disabled": False}
    api(stack, "POST", "configs/pushers", {"id": "picky", "entry": entry})
    visitor.go("/syncs/new?pusher=picky", "New sync")
    expect(visitor.page.get_by_label("Source", exact=True)).to_have_value(re.compile("letters"))
    go_on(visitor, "Which fields are sent, and under which names?")
    visitor.sees("The consumer asks for 3 fields.")
    lines = visitor.page.locator(".wizard-line")
    expect(lines).to_have_count(3)
    expect(lines.nth(0)).to_contain_text("public.mail.id")
    expect(lines.nth(1)).to_contain_text("public.mail.subject")
    visitor.click(primary(visitor))
    visitor.sees("The consumer can't do without this field.")
    lines.nth(2).get_by_label("From", exact=True).fill("body")
    visitor.click(visitor.page.get_by_role("option", name="public.mail.body"))
    go_on(visitor, "Are rows to be changed on their way?")
    after = visitor.page.get_by_role("region", name="After")
    expect(after).to_contain_text("refused")
    visitor.press("Keep only some rows")
    visitor.fill("Keep rows for which this is true", "body is not null")
    expect(after).to_contain_text("filtered out")
    go_on(visitor, "Ready to go")
    visitor.fill("Name of the sync", "picky")
    go_on_to_the_dashboard(visitor, "picky")

    def written() -> list[dict[str, Any]]:
        lines = out.read_text().splitlines() if out.exists() else []
        return sorted((json.loads(line) for line in lines), key=lambda row: int(row["ID"]))

    rows = [{"ID": 1, "subject": "one", "content": "a"}, {"ID": 2, "subject": "two", "content": "b"}]
    wait_for(
        "the rows are there", lambda: written()[:2] == rows or {str(row) for row in written()} == set(map(str, rows))
    )
    assert not visitor.troubles


# -- large, keyboard, languages and widths ----------------------------------------------------------------------------


def test_five_thousand_tables_are_searched_and_shown_in_pages(visitor: Visitor, postgres: PostgresServer) -> None:
    """
    The window holds one page of them, and checks, search and choice work with all.
    """
    postgres.sql("CREATE DATABASE many", "postgres")
    # In parts: a transaction can't hold the locks of them all.
    for begun in range(0, 5000, 500):
        postgres.sql(
            f"DO $$ BEGIN FOR n IN {begun}..{begun + 499} LOOP EXECUTE format('CREATE TABLE t%s (id INT PRIMARY KEY)',"
            " lpad(n::text, 4, '0')); END LOOP; END $$",
            "many",
        )
    begin(visitor, CARDS["postgres"])
    fill_in(visitor, postgres, USER, PASSWORD, "many")
    go_on(visitor, "Is everything in place?")
    expect_ticks(visitor)
    go_on(visitor, "Which tables, which columns?")
    visitor.sees("5,000 tables")
    rows = visitor.page.locator(".console-table tbody tr")
    expect(rows).to_have_count(25)
    visitor.fill("Search", "t499")
    expect(rows).to_have_count(10)
    visitor.click(visitor.page.get_by_text("All tables, also those that are made later"))
    visitor.press("Choose all shown")
    visitor.sees("10 of 5,000 tables chosen")
    go_on(visitor, "Is this the data that you meant?")
    visitor.sees("There are no rows here yet.")
    assert not visitor.troubles


def test_a_source_is_made_with_the_keyboard_alone(visitor: Visitor, stack: Stack) -> None:
    """
    What has the focus when a step appears is its first field, or its heading; Enter in a field goes on.
    """
    page, keys = visitor.page, visitor.page.keyboard
    stack.tree.mkdir(exist_ok=True)
    visitor.go("/sources/new", "New source")
    page.get_by_role("button", name=CARDS["fs"]).focus()
    keys.press("Enter")
    path = page.get_by_label("Directory", exact=True)
    expect(path).to_be_focused()
    keys.type(str(stack.tree))
    keys.press("Enter")
    for heading in (
        "Is everything in place?",
        "Which tables, which columns?",
        "Is this the data that you meant?",
    ):
        at(visitor, heading)
        expect(page.get_by_role("heading", name=heading)).to_be_focused()
        expect(primary(visitor)).to_be_enabled()
        expect(primary(visitor)).to_have_text("Continue")
        for _ in range(12):
            keys.press("Tab")
            if primary(visitor).evaluate("it => it === document.activeElement"):
                break
        keys.press("Enter")
    name = page.get_by_label("Name of the source")
    expect(name).to_be_focused()
    keys.press("Control+A")
    keys.type("by-keyboard")
    keys.press("Enter")
    visitor.sees("The source by-keyboard is saved.")
    assert api(stack, "GET", "configs/sources/by-keyboard")["driver"] == "fs"


LOOKS = [("en", "light", WIDE), ("zh", "dark", NARROW), ("en", "dark", NARROW), ("zh", "light", WIDE)]


@pytest.mark.parametrize(("language", "theme", "width"), LOOKS)
def test_every_step_is_fit_for_everybody(
    visit: Visit, stack: Stack, postgres: PostgresServer, letters: str, language: str, theme: str, width: int
) -> None:
    """
    In both languages, colours and widths: nothing that axe finds serious, nothing wider than the window.
    """
    visitor = signed_in(visit, stack, language=language, theme=theme, width=width)
    page = visitor.page
    seen: list[str] = []

    def is_well(step: str) -> None:
        page.wait_for_function("() => !document.querySelector('.q-spinner')")
        # Axe takes what is above a dialog's backdrop for what is below it, and so its colours for others.
        found = [one for one in visitor.violations() if step != "columns" or not one.startswith("color-contrast")]
        assert found == [], step
        assert not visitor.overflows(), step
        if language == "zh":
            heading = page.get_by_role("heading", level=2).first.inner_text()
            assert re.search("[一-鿿]", heading), heading
        seen.append(step)

    def forward(wait_for_selector: str, step: str) -> None:
        visitor.click(primary(visitor))
        expect(page.locator(wait_for_selector).first).to_be_visible()
        is_well(step)

    page.goto(f"{visitor.console}/sources/new")
    expect(page.locator("button.wizard-choice")).to_have_count(4)
    page.wait_for_function("() => window.socket && window.socket.connected")
    is_well("kind")
    visitor.click(page.locator("button.wizard-choice", has_text="PostgreSQL"))
    fields = page.locator(".wizard-address input")
    expect(fields).to_have_count(3)
    for field, value in zip(fields.all(), ("127.0.0.1", str(postgres.port), "letters"), strict=True):
        field.fill(value)
    account = page.locator("input[autocomplete=new-password]")
    account.fill("wrong-password")
    page.locator(".wizard-fields").nth(1).locator("input").first.fill("looks_nobody")
    visitor.click(page.locator(".wizard-more .q-item").first)
    # What unfolds moves the button: a click meanwhile may miss it.
    expect(page.locator(".wizard-more input:visible").first).to_be_visible()
    is_well("unfolded")
    forward(".console-note", "refused")
    visitor.click(page.locator(".console-note .act"))
    expect(page.locator(".wizard-admin")).to_be_visible()
    is_well("checks that fail")
    visitor.click(page.locator(".wizard-buttons .act").first)
    expect(page.locator(".wizard-address")).to_be_visible()
    account.fill(PASSWORD)
    page.locator(".wizard-fields").nth(1).locator("input").first.fill(USER)
    forward(".check-good >> nth=2", "checks")
    forward(".console-table", "tables")
    visitor.click(page.locator(".wizard-box .q-toggle"))
    visitor.click(page.locator("td .q-checkbox").first)
    is_well("chosen tables")
    visitor.click(page.locator("td .act").first)
    expect(page.locator(".wizard-columns")).to_be_visible()
    is_well("columns")
    visitor.click(page.locator(".console-dialog .act").first)
    expect(page.locator(".wizard-columns")).to_have_count(0)
    forward(".sample", "preview")
    forward(".wizard-facts", "save")
    page.goto(f"{visitor.console}/syncs/new?source={letters}&pusher=fusion")
    expect(page.locator(".wizard-ends")).to_be_visible()
    page.wait_for_function("() => window.socket && window.socket.connected")
    is_well("ends")
    forward(".wizard-box .q-toggle", "fields")
    visitor.click(page.locator(".wizard-box .q-toggle"))
    visitor.click(page.locator(".wizard-box .q-select").last)
    visitor.click(page.get_by_role("option").first)
    expect(page.locator(".wizard-line")).to_have_count(4)
    is_well("mapping")
    forward(".wizard-sides", "changes")
    expect(page.locator(".wizard-kinds .act")).to_have_count(7)
    for number, kind in enumerate(page.locator(".wizard-kinds .act").all(), 1):
        visitor.click(kind)
        expect(page.locator(".wizard-change")).to_have_count(number)  # each moves the buttons
    is_well("steps")
    for left in range(6, -1, -1):
        visitor.click(page.locator(".wizard-change-head .act-delete").first)
        expect(page.locator(".wizard-change")).to_have_count(left)
    forward(".wizard-facts", "start")
    assert len(seen) == 16
    assert not visitor.troubles
