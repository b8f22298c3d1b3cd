"""
The page of one table: its rows, its changes as they come, and its columns.
"""

from __future__ import annotations

import json
from collections import deque
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote

from nicegui import ui

from fustor_client.models import TableInfo
from fustor_core.errors import FustorError, NotFoundError
from fustor_fusion.console.names import visible
from fustor_fusion.console.tables import address, size_of
from fustor_fusion.console.tables_cells import Cell, cell, type_name
from fustor_fusion.console.tables_export import Condition
from fustor_fusion.console.tables_grid import Grid, Heading, Line
from fustor_fusion.console.tables_live import KEPT, Fresh, TableChanges, Told
from fustor_fusion.console.tables_rows import Rows
from fustor_fusion.console.times import ago_of
from fustor_fusion.console.words import COVERAGES, word_of
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.formats import NONE, count
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.states import Mood, state

_EVERY_S: Final = 1.0
_VALUES: Final = 6
_IN_TYPE: Final = ("type", "format", "contentEncoding", "contentMediaType")
_STATES: Final = {"insert": "new", "update": "changed", "delete": "deleted"}
_WORDS: Final = {"insert": "new", "update": "changed", "delete": "deleted"}


@console_page("/tables/{task}/{name}", "Table")
async def one_table(page: Page, task: str, name: str, schema: str = "", where: str = "[]", order: str = "null") -> None:
    """
    Show a table.
    """
    t = page.t
    task, name = unquote(task), unquote(name)
    ui.page_title(f"{visible(name)} · {page.console.title}")
    with ui.element("div").classes("table-head"):
        ui.label(visible(name)).props('role=heading aria-level="2"').classes("table-title")
        action(t("All tables"), Kind.PLAIN, lambda: page.go("/tables"), icon="arrow_back")
    try:
        info: TableInfo | None = await page.client.table(task, schema, name)
    except NotFoundError:
        ui.label(
            t("There is no such table now. It was dropped at its source, or its sync was removed from this datastore.")
        ).classes("console-empty")
        return
    except FustorError as exc:
        page.tell(exc)
        return
    assert info is not None
    _TablePage(page, info, _conditions(where), _order(order))


def _conditions(text: str) -> list[Condition]:
    """
    Read conditions from the page's address; what is none is left out.
    """
    try:
        made = json.loads(text)
        return [(str(column), str(op), str(value)) for column, op, value in made][:10]
    except (ValueError, TypeError):
        return []


def _order(text: str) -> tuple[str, str] | None:
    try:
        column, way = json.loads(text)
    except (ValueError, TypeError):
        return None
    return (str(column), "desc" if way == "desc" else "asc")


class _TablePage:
    def __init__(self, page: Page, info: TableInfo, where: list[Condition], order: tuple[str, str] | None) -> None:
        self._page = page
        self._info = info
        self._changes = TableChanges(page, info)
        page_client = ui.context.client
        page_client.on_delete(self._changes.close)
        self._is_busy = False
        self._is_gone = False
        self._facts: dict[str, ui.label] = {}
        t = page.t
        self._head()
        with ui.tabs().props("no-caps inline-label dense align=left").classes("view-tabs") as tabs:
            rows_tab = ui.tab("rows", t("Data"), icon="table_rows")
            live_tab = ui.tab("live", t("Changes"), icon="bolt")
            columns_tab = ui.tab("columns", t("Columns"), icon="view_column")
        with ui.tab_panels(tabs, value=rows_tab, animated=False, keep_alive=True).classes("table-panels"):
            with ui.tab_panel(rows_tab):
                self._rows = Rows(page, info, where, order, self._moved)
            with ui.tab_panel(live_tab):
                self._tail = _Tail(page, info)
            with ui.tab_panel(columns_tab):
                self._schema = _Columns(page)
        self._schema.show(info)
        ui.timer(0.01, self._rows.begin, once=True)
        ui.timer(_EVERY_S, self._tick)

    def _head(self) -> None:
        t = self._page.t
        with ui.element("dl").classes("table-facts"):
            for name, english in (
                ("schema", "Schema"),
                ("sync", "Sync"),
                ("rows", "Rows"),
                ("bytes", "Size"),
                ("changed", "Last update"),
                ("coverage", "Completeness"),
                ("key", "Key"),
            ):
                with ui.element("div"):
                    with ui.element("dt"):
                        ui.label(t(english))
                    with ui.element("dd"):
                        self._facts[name] = ui.label("")
        self._trouble = ui.element("div").classes("table-trouble").props("role=status")
        self._show_facts()

    def _show_facts(self) -> None:
        t, info = self._page.t, self._info
        said = {
            "schema": visible(info.schema) or NONE,
            "sync": visible(info.task_id),
            "rows": count(info.rows),
            "bytes": size_of(self._page, info),
            "changed": ago_of(self._page, info.changed_at),
            "coverage": t(word_of(COVERAGES, info.coverage).text),
            "key": ", ".join(map(visible, info.key)) if info.key else t("none: the whole row counts"),
        }
        for name, text in said.items():
            if self._facts[name].text != text:
                self._facts[name].set_text(text)

    def _moved(self, where: list[Condition], order: tuple[str, str] | None) -> None:
        info = self._info
        query: dict[str, str] = {"where": json.dumps(where)} if where else {}
        if order is not None:
            query["order"] = json.dumps(order)
        self._page.moved(address(info.task_id, info.schema, info.table, **query))

    async def _tick(self) -> None:
        """
        Look what has changed. A look that takes long is not joined by another one.
        """
        if self._is_busy or self._is_gone:
            return
        self._is_busy = True
        try:
            await self._look()
        finally:
            self._is_busy = False

    async def _look(self) -> None:
        fresh, info = self._changes.take(), self._info
        self._tail.add(fresh)
        if self._changes.failure is not None:
            self._page.tell(self._changes.failure)
            self._changes.failure = None
            self._say_trouble(self._page.t("Changes are not told any more. Load the page again."))
        found = await self._page.ask(self._known(info))
        if found is None:
            return
        if isinstance(found, NotFoundError):
            self._is_gone = True
            self._say_trouble(self._page.t("This table is not there any more. What you see is what it was."))
            return
        if found.columns != info.columns or found.key != info.key:
            self._schema.show(found)
        self._info = found
        self._show_facts()
        await self._rows.follow(found, fresh)

    async def _known(self, info: TableInfo) -> TableInfo | NotFoundError:
        try:
            found: TableInfo = await self._page.client.table(info.task_id, info.schema, info.table)
        except NotFoundError as exc:
            return exc
        return found

    def _say_trouble(self, text: str) -> None:
        self._trouble.clear()
        with self._trouble:
            state(text, Mood.WAIT)


class _Tail:
    """
    The newest changes, the newest first.
    """

    def __init__(self, page: Page, info: TableInfo) -> None:
        self._page = page
        self._info = info
        self._kept: deque[Told] = deque(maxlen=KEPT)
        self._is_halted = False
        self._lost = 0
        self._total = 0
        t = page.t
        with ui.element("div").classes("console-bar"):
            self._halt = action(t("Halt"), Kind.STOP, lambda: self._turn(halt=True), icon="pause")
            self._go = action(t("Go on"), Kind.START, lambda: self._turn(halt=False), icon="play_arrow")
            self._status = ui.label("").classes("rows-status").props("role=status")
        self._go.set_visibility(False)
        self._grid = Grid(t("Changes"))
        self._nothing = ui.label(
            t("Nothing has changed since you opened this page. Changes appear here as they are stored.")
        ).classes("console-empty")
        self._grid.set_visibility(False)

    def _turn(self, *, halt: bool) -> None:
        self._is_halted = halt
        self._halt.set_visibility(not halt)
        self._go.set_visibility(halt)
        self._show()

    def add(self, fresh: Fresh) -> None:
        """
        Take in what came.
        """
        self._lost += fresh.lost
        self._total += fresh.count
        self._kept.extend(fresh.newest)
        if fresh.count:
            self._show()

    def _show(self) -> None:
        t = self._page.t
        said = t(
            "{number} changes since you opened this page; the newest {kept} are kept.",
            number=count(self._total),
            kept=KEPT,
        )
        if self._lost:
            said += " " + t("{number} came too fast to be shown.", number=count(self._lost))
        if self._is_halted:
            said = t("Halted. Changes go on being collected.")
        if self._status.text != said:
            self._status.set_text(said)
        if self._is_halted:
            return
        columns: list[Heading] = [
            {"name": name, "label": t(label), "type": ""}
            for name, label in (("at", "When"), ("op", "What"), ("key", "Key"), ("row", "Values"))
        ]
        self._grid.set_visibility(bool(self._kept))
        self._nothing.set_visibility(not self._kept)
        self._grid.fill("", columns, [self._line(told) for told in reversed(self._kept)])

    def _line(self, told: Told) -> Line:
        change = told.change
        schemas = self._info.columns or {}
        key = change.key if isinstance(change.key, list) else [change.key]
        row = change.row or {}
        named = self._info.key or []
        shown = [name for name in row if name not in named]
        values = ", ".join(f"{visible(name)}={cell(row[name], schemas.get(name)).text}" for name in shown[:_VALUES])
        if len(shown) > _VALUES:
            values += " …"
        at = datetime.fromtimestamp(told.at, UTC).strftime("%H:%M:%S UTC")
        word = self._page.t(_WORDS.get(change.op, change.op))
        key_shown = ", ".join(cell(one, None).text for one in key)
        return {
            "key": str(told.number),
            "name": key_shown,
            "cells": [_plain(at), _plain(word), _plain(key_shown), _plain("" if change.op == "delete" else values)],
            "state": _STATES.get(change.op, ""),
            "note": "",
            "fresh": [],
        }


def _plain(text: str) -> Cell:
    return Cell(text)


class _Columns:
    """
    The columns of the table, and how their types are known.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._said = ui.label("").classes("console-lead")
        self._grid = Grid(page.t("Columns"))

    def show(self, info: TableInfo) -> None:
        """
        Show them.
        """
        t = self._page.t
        known = any(info.columns.values()) if info.columns else False
        self._said.set_text(
            t(
                "As the sync {sync} told them last. They follow the source: what is added or dropped there is here, too.",
                sync=visible(info.task_id),
            )
            if known
            else t(
                "The sync {sync} tells no types: these are the columns that its rows have had.",
                sync=visible(info.task_id),
            )
        )
        headings: list[Heading] = [
            {"name": name, "label": t(label), "type": ""}
            for name, label in (("name", "Column"), ("type", "Type"), ("key", "Key"), ("more", "Details"))
        ]
        key = info.key or []
        lines: list[Line] = [
            {
                "key": name,
                "name": name,
                "cells": [
                    _plain(visible(name)),
                    _plain(type_name(schema) or t("not known")),
                    _plain(str(key.index(name) + 1) if name in key else ""),
                    _plain(_details(schema)),
                ],
                "state": "",
                "note": "",
                "fresh": [],
            }
            for name, schema in (info.columns or {}).items()
        ]
        self._grid.fill("", headings, lines)


def _details(schema: Any) -> str:
    if not isinstance(schema, dict):
        return ""
    more = {name: value for name, value in schema.items() if name not in _IN_TYPE}
    return visible(json.dumps(more, ensure_ascii=False)[:200]) if more else ""
