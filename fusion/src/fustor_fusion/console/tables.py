"""
The page of the tables.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from nicegui import ui

from fustor_client.models import TableInfo
from fustor_core.models.file_row import FILES_TABLE
from fustor_fusion.console.names import visible
from fustor_fusion.console.times import ago_of
from fustor_fusion.console.words import COVERAGES, word_of
from fustor_web_ui.formats import count, size
from fustor_web_ui.live_table import LiveColumn, LiveTable, Wanted
from fustor_web_ui.page import Page, console_page, target
from fustor_web_ui.states import state
from fustor_web_ui.tables import Part

_ROWS: Final = 50
_EVERY_S: Final = 5.0


def address(task: str, schema: str, name: str, **query: str) -> str:
    """
    Return where a table's page is. Names may hold a `/`, which is no separator: they are quoted twice, as one is undone on the way.
    """
    parts = [quote(quote(part, safe=""), safe="") for part in (task, name)]
    return target(f"/tables/{'/'.join(parts)}", schema=schema, **query)


@console_page("/tables", "Tables")
async def tables(page: Page) -> None:
    """
    List the tables of the datastore.
    """
    t = page.t
    wanted: dict[str, Any] = {}
    with ui.element("div").classes("console-lead"):
        ui.label(t("Each table is kept in step with its source: what changes there appears here moments later."))
        ui.link(t("How fresh each of them is, and what the words mean"), target("/freshness"))

    async def load(which: Wanted) -> Part | None:
        filters = {name: value for name, value in wanted.items() if value}
        found = await page.ask(
            page.client.tables_page(limit=_ROWS, cursor=which.cursor, sort=which.sort, order=which.order, **filters)
        )
        if found is None:
            return None
        table.empty(t("No table's name has that in it.") if filters else nothing)
        return Part(found.rows, found.next)

    async def narrow(text: str | None) -> None:
        wanted["q"] = (text or "").strip()
        await table.restart()

    nothing = t("There are no tables here. They appear once an agent syncs a database to this datastore.")
    with ui.element("div").classes("console-bar"):
        ui.input(t("Part of a name"), on_change=lambda event: narrow(event.value)).props(
            "outlined dense clearable debounce=400"
        )
    with ui.element("div").classes("many-columns"):
        table: LiveTable[TableInfo] = LiveTable(
            page,
            t("Tables"),
            [
                LiveColumn(t("Table"), fill=lambda one: _name(page, one), value=lambda one: one.schema, sort="name"),
                LiveColumn(t("Sync"), lambda one: visible(one.task_id), shape="is-name", sort="task"),
                LiveColumn(
                    t("Completeness"), fill=lambda one: show_coverage(page, one), value=lambda one: one.coverage
                ),
                LiveColumn(t("Rows"), lambda one: count(one.rows), is_number=True, sort="rows"),
                LiveColumn(
                    t("Size"),
                    lambda one: size_of(page, one),
                    is_number=True,
                    shape="is-short",
                    sort="bytes",
                ),
                LiveColumn(
                    t("Number of columns"), lambda one: count(len(one.columns or ())), is_number=True, sort="columns"
                ),
                LiveColumn(
                    t("Last update"),
                    lambda one: ago_of(page, one.changed_at),
                    shape="is-short",
                    sort="changed",
                ),
            ],
            load,
            key=lambda one: (one.task_id, one.schema, one.table),
            empty=nothing,
            sort="name",
        )
    await table.show()
    ui.timer(_EVERY_S, table.show)


def size_of(page: Page, one: TableInfo) -> str:
    """
    Say how much a table is; of a file tree, how much its files are, which is counted.
    """
    if one.bytes is None:
        return page.t("unknown")
    if one.table == FILES_TABLE or not one.rows:
        return size(one.bytes)
    return page.t("about {size}", size=size(one.bytes))


def show_coverage(page: Page, one: TableInfo) -> None:
    """
    Show whether all rows of a table are there.
    """
    word = word_of(COVERAGES, one.coverage)
    state(page.t(word.text), word.mood)


def _name(page: Page, one: TableInfo) -> None:
    is_tree = one.table == FILES_TABLE
    icon = "folder" if is_tree else "table_chart"
    with ui.element("div").classes("table-name"):
        ui.icon(icon).props("aria-hidden=true")
        ui.link(visible(one.table), address(one.task_id, one.schema, one.table))
        if one.schema:
            ui.label(visible(one.schema)).classes("table-schema")
        if is_tree:
            # Elsewhere files and folders are counted, without the root.
            ui.label(page.t("file tree; its root counts as a row")).classes("table-schema")
