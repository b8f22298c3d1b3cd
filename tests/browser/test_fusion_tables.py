"""
Fusion's pages of tables, as people use them: rows of a real MariaDB and a real PostgreSQL that an agent brings, and a million rows.
"""

from __future__ import annotations

import csv
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.browser import NARROW, WIDE, Visitor
from harness.sender import Sender
from harness.stack import Stack, wait_for
from playwright.sync_api import Download, Locator, expect

from fustor_core.testing.mariadb_server import MariaDbServer
from fustor_core.testing.postgres_server import PostgresServer
from fustor_core.testing.private_server import PASSWORD, USER

HOSTILE = '<img src=x onerror="window.wasRun=1"><script>window.wasRun=1</script>'
ORDERS = 120
Visit = Callable[..., Visitor]


class Shop:
    """
    The services with both databases behind them.
    """

    def __init__(self, folder: Path) -> None:
        self.mariadb = MariaDbServer.start_new()
        self.postgres = PostgresServer.start_new()
        self.mariadb.sql(
            "CREATE DATABASE shop; USE shop; CREATE TABLE orders (id INT PRIMARY KEY, name VARCHAR(200), total DECIMAL(20,2),"
            " at DATETIME, photo BLOB, place POINT); INSERT INTO orders (id, name, total, at, photo, place) SELECT seq,"
            " CONCAT('order ', seq), (seq * 7919 % 1000) / 4, '2026-01-01' + INTERVAL seq HOUR, REPEAT(CHAR(seq), seq),"
            f" POINT(seq, 1) FROM seq_1_to_{ORDERS}; UPDATE orders SET name = NULL WHERE id = 3; UPDATE orders SET name = ''"
            f" WHERE id = 4; UPDATE orders SET name = '{HOSTILE}' WHERE id = 5; UPDATE orders SET name = '=1+1' WHERE id = 6"
        )
        self.postgres.sql(
            "CREATE TABLE people (id INT PRIMARY KEY, name TEXT, born TIMESTAMPTZ, extra JSONB);"
            " INSERT INTO people SELECT n, 'person ' || n, TIMESTAMPTZ '2000-01-01 00:00+00' + n * INTERVAL '1 day',"
            " jsonb_build_object('n', n) FROM generate_series(1, 60) AS n"
        )
        self.stack = Stack(folder, folder / "tree", sync="mariadb")
        pusher = self.stack.fusion_pusher()
        self.write_config(pusher)
        self.stack.agent.start()

    def write_config(self, pusher: dict[str, Any]) -> None:
        patient = {"max_retries": 0, "retry_delay_sec": 1, "disabled": False}
        credential = {"user": USER, "passwd": PASSWORD}
        config = {
            "sources": {
                "mariadb": {**patient, "driver": "mysql", "uri": self.mariadb.uri("shop"), "credential": credential},
                "postgres": {**patient, "driver": "postgres", "uri": self.postgres.uri(), "credential": credential},
            },
            "pushers": {"fusion": {**patient, **pusher}},
            "syncs": {
                name: {"source": name, "pusher": "fusion", "disabled": False} for name in ("mariadb", "postgres")
            },
        }
        self.stack.agent.folder.mkdir(parents=True, exist_ok=True)
        (self.stack.agent.folder / "agent-config.yaml").write_text(yaml.safe_dump(config))

    def wait_for_rows(self) -> None:
        def counted() -> bool:
            rows = {table["table"]: table["rows"] for table in self.stack.fusion_get("/views/tables")["rows"]}
            return rows == {"orders": ORDERS, "people": 60}

        wait_for("all rows are there", counted, on_timeout=self.stack.tails)

    def close(self) -> None:
        self.stack.close()
        self.mariadb.close()
        self.postgres.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    made = Shop(tmp_path_factory.mktemp("shop"))
    made.wait_for_rows()
    yield made
    made.close()


@pytest.fixture
def reader(visit: Visit, shop: Shop) -> Visitor:
    """
    Somebody who is signed in, at the list of tables.
    """
    visitor = visit(f"{shop.stack.fusion.url}/view")
    enter(visitor, shop.stack)
    return visitor


def enter(visitor: Visitor, stack: Stack, title: str = "Overview") -> None:
    visitor.sign_in(key=stack.key)
    visitor.is_at(title)


def open_table(visitor: Visitor, name: str, *, titles: tuple[str, str] = ("Tables", "Table")) -> None:
    visitor.go("/tables", titles[0])
    visitor.click(visitor.page.get_by_role("link", name=name, exact=True))
    visitor.is_at(titles[1])
    expect(lines(visitor).first).to_be_visible()


def lines(visitor: Visitor) -> Locator:
    return visitor.page.locator(".q-tab-panel:visible .grid tbody tr")


def line(visitor: Visitor, key: int | str) -> Locator:
    """
    Return the row whose first column is this.
    """
    return lines(visitor).filter(has=visitor.page.locator(f"td:nth-child(2) bdi:text-is('{key}')"))


def column(visitor: Visitor, at: int) -> list[str]:
    """
    Return what a column of the page shows.
    """
    found: list[str] = visitor.page.locator(
        f".q-tab-panel:visible .grid tbody td:nth-child({at + 1})"
    ).all_inner_texts()
    return found


def add_filter(visitor: Visitor, name: str, condition: str, value: str = "") -> None:
    choose(visitor, "Column", name)
    choose(visitor, "Condition", condition)
    if value:
        visitor.fill("Value", value)
    visitor.press("Add filter")


def choose(visitor: Visitor, label: str, option: str) -> None:
    visitor.click(visitor.page.get_by_role("combobox", name=label, exact=True))
    visitor.click(visitor.page.get_by_role("option", name=option, exact=True))


def exported(visitor: Visitor, form: str) -> str:
    visitor.press("Export")
    with visitor.page.expect_download() as info:
        visitor.click(visitor.page.get_by_role("link", name=re.compile(form)))
    download: Download = info.value
    text = Path(download.path()).read_text("utf-8")
    visitor.press("Close")
    expect(visitor.page.get_by_role("dialog")).to_have_count(0)
    return text


@pytest.mark.timeout(300)
def test_changes_in_mariadb_and_postgresql_appear_without_loading_the_page_again(reader: Visitor, shop: Shop) -> None:
    """
    What changes at the source changes on the page, marked; the page itself stays.
    """
    for table, change in (
        ("orders", lambda text: shop.mariadb.sql(f"USE shop; {text}")),
        ("people", lambda text: shop.postgres.sql(text)),
    ):
        open_table(reader, table)
        reader.page.evaluate("() => { window.stayed = true }")
        change(f"UPDATE {table} SET name = 'is new' WHERE id = 7")
        expect(line(reader, 7)).to_contain_text("is new")
        change(f"INSERT INTO {table} (id, name) VALUES (0, 'came')")
        expect(line(reader, 0)).to_contain_text("came")
        change(f"DELETE FROM {table} WHERE id = 0")
        expect(line(reader, 0)).to_have_count(0)
        reader.click(reader.page.get_by_role("tab", name="Changes"))
        told = reader.page.locator(".q-tab-panel:visible .grid tbody td:nth-child(2)")
        expect(told).to_have_text(["deleted", "new", "changed"])
        assert reader.page.evaluate("() => window.stayed")
    assert not reader.troubles


@pytest.mark.timeout(300)
def test_filter_sort_pages_and_export_agree_with_the_database(reader: Visitor, shop: Shop) -> None:
    """
    Decimals sort as numbers, NULL last; all pages together are all rows; the exported file is what MariaDB says.
    """
    wanted = [
        text.split("\t")
        for text in shop.mariadb.sql("USE shop; SELECT id, total FROM orders ORDER BY total, CAST(id AS CHAR)").split(
            "\n"
        )
        if text
    ]
    open_table(reader, "orders")
    reader.click(reader.page.get_by_role("button", name="total"))
    expect(reader.page.get_by_role("columnheader", name="total")).to_have_attribute("aria-sort", "ascending")
    expect(lines(reader).first).to_contain_text(wanted[0][1])
    totals: list[str] = []
    for number in range(1, 4):
        reader.sees(f"Page {number}")
        totals += column(reader, 3)
        if number < 3:
            reader.press("Next")
            expect(reader.page.get_by_text(f"Page {number + 1}")).to_be_visible()
    assert totals == [total for _, total in wanted]
    expect(reader.page.get_by_role("button", name="Next")).to_be_disabled()
    reader.click(reader.page.get_by_role("button", name="total"))
    expect(reader.page.get_by_role("columnheader", name="total")).to_have_attribute("aria-sort", "descending")
    expect(lines(reader).first).to_contain_text(wanted[-1][1])
    add_filter(reader, "total", "≥", "200")
    many = int(shop.mariadb.sql("USE shop; SELECT COUNT(*) FROM orders WHERE total >= 200").strip())
    reader.sees(f"{many} rows fit")
    text = exported(reader, "CSV, exact")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == many
    assert all(float(row["total"]) >= 200 for row in rows)
    reader.page.reload()
    reader.is_at("Table")
    reader.sees(f"{many} rows fit")  # the address says what is shown
    reader.click(reader.page.get_by_role("button", name=re.compile("Remove the filter")))
    expect(reader.page.locator(".rows-status")).to_have_text("")  # how many there are stands above
    expect(reader.page.locator(".table-facts")).to_contain_text(f"Rows{ORDERS}")
    add_filter(reader, "name", "is NULL")
    reader.sees("1 rows fit")
    reader.click(reader.page.get_by_role("button", name=re.compile("Remove the filter")))
    whole = [json.loads(one) for one in exported(reader, "JSON Lines").splitlines()]
    assert {row["id"] for row in whole} == set(range(1, ORDERS + 1))
    sheet = {
        row["id"]: row for row in csv.DictReader(io.StringIO(exported(reader, "CSV for spreadsheets"), newline=""))
    }
    assert sheet["6"]["name"] == "'=1+1"
    assert not reader.troubles


@pytest.mark.timeout(300)
def test_what_is_asked_wrongly_is_told_and_taken_back(reader: Visitor, shop: Shop) -> None:
    open_table(reader, "orders")
    add_filter(reader, "total", ">", "many")
    reader.sees("holds numbers")
    expect(reader.page.get_by_role("button", name=re.compile("Remove the filter"))).to_have_count(0)
    expect(lines(reader).first).to_be_visible()


@pytest.mark.timeout(300)
def test_values_are_shown_as_they_are_and_nothing_in_them_is_run(reader: Visitor, shop: Shop) -> None:
    """
    NULL and an empty text differ; bytes, shapes and JSON can be read; scripts are text.
    """
    open_table(reader, "orders")
    expect(line(reader, 3)).to_contain_text("NULL")
    expect(line(reader, 4)).to_contain_text("“”")
    expect(line(reader, 5)).to_contain_text(HOSTILE[:40])
    expect(line(reader, 5)).to_contain_text("POINT (5 1)")
    expect(line(reader, 20)).to_contain_text("(20 B)")
    reader.click(reader.page.get_by_role("button", name="Show the row 5", exact=True))
    expect(reader.page.get_by_role("dialog")).to_contain_text(HOSTILE)
    expect(reader.page.get_by_role("dialog").get_by_role("button", name="Close")).to_be_visible()
    reader.page.keyboard.press("Escape")
    expect(reader.page.get_by_role("dialog")).to_have_count(0)
    shop.mariadb.sql(f"USE shop; UPDATE orders SET name = CONCAT('{HOSTILE}', id) WHERE id = 5")
    reader.click(reader.page.get_by_role("tab", name="Changes"))
    expect(lines(reader).first).to_contain_text("<script>")
    assert reader.page.evaluate("() => window.wasRun") is None
    assert not reader.troubles


@pytest.mark.timeout(300)
def test_a_column_that_comes_or_goes_at_the_source_does_so_here(reader: Visitor, shop: Shop) -> None:
    open_table(reader, "people")
    shop.postgres.sql("ALTER TABLE people ADD COLUMN mail TEXT; UPDATE people SET mail = 'a@b.c' WHERE id = 1")
    expect(reader.page.get_by_role("columnheader", name="mail")).to_be_visible()
    expect(line(reader, 1)).to_contain_text("a@b.c")
    reader.click(reader.page.get_by_role("tab", name="Columns"))
    expect(lines(reader).filter(has_text="mail")).to_contain_text("string")
    shop.postgres.sql("ALTER TABLE people DROP COLUMN mail; UPDATE people SET name = 'x' WHERE id = 2")
    expect(lines(reader).filter(has_text="mail")).to_have_count(0)
    expect(lines(reader).filter(has_text="born")).to_contain_text("date-time")


@pytest.mark.timeout(300)
def test_the_tail_can_be_halted(reader: Visitor, shop: Shop) -> None:
    open_table(reader, "orders")
    reader.click(reader.page.get_by_role("tab", name="Changes"))
    reader.sees("Nothing has changed since you opened this page.")
    shop.mariadb.sql("USE shop; UPDATE orders SET name = 'one' WHERE id = 9")
    expect(lines(reader)).to_have_count(1)
    reader.press("Halt")
    reader.sees("Halted.")
    shop.mariadb.sql("USE shop; UPDATE orders SET name = 'two' WHERE id = 9")
    wait_for(
        "the change is stored",
        lambda: "two" in str(shop.stack.fusion_get("/views/tables/mariadb/shop/orders/row", key="[9]")),
    )
    expect(lines(reader)).to_have_count(1)
    reader.press("Go on")
    expect(lines(reader)).to_have_count(2)


@pytest.mark.timeout(600)
def test_a_million_rows_stay_quick_to_look_at_while_more_come(visit: Visit, shop: Shop) -> None:
    """
    The window holds a page of rows, whatever the table has; a search through all of them can be stopped; rows go on being stored.
    """
    stack = shop.stack
    sender = Sender(stack.fusion.url, stack.key, "million")
    columns = {"id": {"type": "integer"}, "name": {"type": "string"}, "n": {"type": "integer"}}
    for begin in range(0, 1_000_000, 20_000):
        rows = [(at, f"name {at}", at * 7919 % 1_000_003) for at in range(begin, begin + 20_000)]
        sender.rows("big", "million", list(columns), rows, columns=columns)
    visitor = visit(f"{stack.fusion.url}/view")
    enter(visitor, stack)
    answers: list[int] = []
    open_table(visitor, "million")
    expect(line(visitor, 0)).to_be_visible()
    expect(visitor.page.locator(".table-facts")).to_contain_text("Rows1,000,000")
    assert lines(visitor).count() == 50
    done = threading.Event()
    waits: list[float] = []

    def feed() -> None:
        at = 2_000_000
        while not done.is_set():
            began = time.monotonic()
            sender.rows("big", "million", list(columns), [(at, "came", at)], columns=columns)
            waits.append(time.monotonic() - began)
            answers.append(at)
            at += 1
            done.wait(0.05)

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        visitor.click(visitor.page.get_by_role("button", name="n", exact=True))
        expect(lines(visitor).nth(1).locator("td").nth(3)).to_have_text("1", timeout=120_000)
        assert lines(visitor).count() == 50
        assert column(visitor, 3) == sorted(column(visitor, 3), key=int)
        visitor.press("Next")
        expect(visitor.page.get_by_text("Page 2")).to_be_visible(timeout=120_000)
        add_filter(visitor, "name", "contains", "name 999999")
        expect(lines(visitor)).to_have_count(1, timeout=120_000)
        add_filter(visitor, "name", "contains", "nobody")
        visitor.page.get_by_text("No row fits.").wait_for(timeout=120_000)
        visitor.page.get_by_text("0 rows fit", exact=True).wait_for(timeout=120_000)
        visitor.click(visitor.page.get_by_role("tab", name="Changes"))
        expect(lines(visitor).first).to_contain_text("came")
        assert lines(visitor).count() <= 100
    finally:
        done.set()
        thread.join()
        sender.close()
    assert len(answers) > 10
    assert visitor.page.evaluate("() => document.querySelectorAll('*').length") < 4000
    assert sorted(waits)[len(waits) // 2] < 5, "rows were stored all the while"
    assert not visitor.troubles


@pytest.mark.timeout(600)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everybody_can_use_the_pages_of_tables(visit: Visit, shop: Shop, theme: str) -> None:
    """
    axe finds nothing serious, also in what opens; nothing is wider than its window.
    """
    problems: list[str] = []
    for at, language in enumerate(("en", "zh")):
        for width in (WIDE, NARROW):
            visitor = visit(f"{shop.stack.fusion.url}/view", language=language, theme=theme, width=width)
            enter(visitor, shop.stack, ("Overview", "总览")[at])
            where = f"{language} {theme} {width}"

            visitor.go("/tables", ("Tables", "表")[at])
            expect(visitor.page.get_by_role("link", name="orders", exact=True)).to_be_visible()
            problems += visitor.problems(f"list {where}")
            open_table(visitor, "orders", titles=(("Tables", "Table"), ("表", "表"))[at])
            problems += visitor.problems(f"rows {where}")
            visitor.click(visitor.page.locator(".grid-open button").nth(4))
            expect(visitor.page.locator(".row-dialog")).to_be_visible()
            problems += visitor.problems(f"row {where}")
            visitor.page.keyboard.press("Escape")
            expect(visitor.page.locator(".row-dialog")).to_have_count(0)
            visitor.press(("Export", "导出")[at])
            expect(visitor.page.locator(".export-form").first).to_be_visible()
            problems += visitor.problems(f"export {where}")
            visitor.press(("Close", "关闭")[at])
            for tab in (1, 2):
                visitor.click(visitor.page.get_by_role("tab").nth(tab))
                problems += visitor.problems(f"tab {tab} {where}")
            problems += visitor.troubles
    assert not problems, "\n".join(problems)


@pytest.mark.timeout(300)
def test_the_keyboard_alone_sorts_opens_and_closes(reader: Visitor, shop: Shop) -> None:
    """
    Headings, rows and long values are buttons; a dialog closes by Escape, and one is where one was.
    """
    open_table(reader, "orders")
    page = reader.page
    heading = page.get_by_role("button", name="name")
    heading.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="name")).to_have_attribute("aria-sort", "ascending")
    expect(heading).to_be_focused()
    button = page.get_by_role("button", name=re.compile("Show the row")).first
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()


@pytest.mark.timeout(300)
def test_another_datastores_tables_are_not_to_be_seen_nor_exported(visit: Visit, shop: Shop) -> None:
    """
    Names are no way around the key; without a session there is no file.
    """
    other = shop.stack.provision("others")
    visitor = visit(f"{shop.stack.fusion.url}/view")
    visitor.sign_in(key=other)
    visitor.is_at("Overview")
    visitor.go("/tables", "Tables")
    visitor.sees("There are no tables here.")
    visitor.page.goto(f"{shop.stack.fusion.url}/view/tables/mariadb/orders?schema=shop")
    visitor.is_at("Table")
    visitor.sees("There is no such table now.")
    answer = visitor.page.request.get(
        f"{shop.stack.fusion.url}/view/table-export?task=mariadb&schema=shop&table=orders&form=csv"
    )
    assert answer.status == 400 and "order 1" not in answer.text()
    nobody = shop.stack.http.get(
        f"{shop.stack.fusion.url}/view/table-export",
        params={"task": "mariadb", "schema": "shop", "table": "orders", "form": "csv"},
        follow_redirects=False,
    )
    assert nobody.status_code == 303 and "/sign-in" in nobody.headers["location"]
