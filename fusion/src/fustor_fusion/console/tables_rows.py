"""
The rows of one table: a page of them, kept as they are in the store while somebody looks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from nicegui import ui

from fustor_client.models import RowPage, TableInfo
from fustor_core.errors import FustorError, InvalidRequest, NotFoundError
from fustor_core.models.file_row import FILES_TABLE
from fustor_fusion.console.names import visible
from fustor_fusion.console.tables_cells import cell, is_number, is_written_number, number_cell, type_name
from fustor_fusion.console.tables_export import Condition, offer_export
from fustor_fusion.console.tables_filters import Filters
from fustor_fusion.console.tables_grid import Grid, Heading, Line
from fustor_fusion.console.tables_live import Fresh, key_text
from fustor_fusion.console.tables_row import row_name, row_title, show_row
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.dialogs import make_dialog
from fustor_web_ui.formats import count
from fustor_web_ui.page import Page
from fustor_web_ui.sort_choice import SortChoice

ROWS: Final = 50
COLUMNS: Final = 12
MARKED_S: Final = 6.0
QUICK_ROWS: Final = 20_000
"""
A table of so many rows is looked through again for every change; of a larger one only the rows on the page are read again.
"""
SORTED_BY_KEY_ROWS: Final = 2_000_000


@dataclass
class _Shown:
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    states: dict[str, tuple[str, float]] = field(default_factory=dict)
    fresh: dict[str, set[str]] = field(default_factory=dict)


class Rows:
    """
    The grid with its filters, its order and its pages.

    Args:
        page: Where it stands.
        info: The table.
        where: Conditions to begin with.
        order: Order to begin with; None = by the key.
        moved: Called with the conditions and the order when others are shown.
    """

    def __init__(
        self,
        page: Page,
        info: TableInfo,
        where: list[Condition],
        order: tuple[str, str] | None,
        moved: Callable[[list[Condition], tuple[str, str] | None], None],
    ) -> None:
        self._page = page
        self.info = info
        self._moved = moved
        self._order = order
        self._cursors: list[str | None] = [None]
        self._next: str | None = None
        self._asked = 0
        self._counting = 0
        self._loading = 0
        self._is_stopped = False
        self._matching: tuple[int, bool] | None = None
        self._can_count = True
        self._shown = _Shown()
        self._is_outdated = False
        self._columns = list(info.columns or {})[:COLUMNS]
        self._filters = Filters(page, info, where, self._restart)
        self._build()

    def _build(self) -> None:
        t = self._page.t
        with ui.element("div").classes("console-bar rows-bar"):
            action(t("Choose columns"), Kind.PLAIN, self._choose_columns, icon="view_column")
            action(t("Export"), Kind.PLAIN, self._export, icon="download")
            self._again = action(t("Refresh"), Kind.PLAIN, self._reload, icon="refresh")
            self._choice = SortChoice(self._page, self._order_by)
            self._status = ui.label("").classes("rows-status").props("role=status")
            self._stop = action(t("Stop"), Kind.STOP, self._stop_looking)
        self._again.set_visibility(False)
        self._stop.set_visibility(False)
        words = {"row": t("Row"), "open": t("Show the row"), "whole": t("Show the whole value"), "key": t("key")}
        self._grid = Grid(t("Data"), words, sort=self._sort_by, show=self._open)
        self._nothing = ui.label("").classes("console-empty")
        self._nothing.set_visibility(False)
        with ui.element("nav").classes("console-turn").props(f'aria-label="{t("Pages of the table")}"') as self._turn:
            self._previous = action(t("Previous"), Kind.PLAIN, self._back, icon="chevron_left")
            self._number = ui.label("")
            self._following = action(t("Next"), Kind.PLAIN, self._forward, icon="chevron_right")
        self._show_orders()

    # Which rows

    @property
    def where(self) -> list[Condition]:
        """
        The conditions.
        """
        return self._filters.where

    def _effective_order(self) -> tuple[str, str] | None:
        """
        Return the order to ask for: that of the key, by its first column, unless that takes too long.
        """
        if self._order is not None:
            return self._order
        is_quick = self.info.rows <= SORTED_BY_KEY_ROWS and self.info.table != FILES_TABLE
        return (self.info.key[0], "asc") if self.info.key and is_quick else None

    async def _sort_by(self, at: int) -> None:
        await self._order_by(self._columns[at])

    async def _order_by(self, name: str) -> None:
        """
        Sort by a column; the other way round when the rows are sorted by it already.
        """
        now = self._effective_order()
        self._order = (name, "desc" if now == (name, "asc") else "asc")
        self._show_orders()
        await self._restart()

    def _show_orders(self) -> None:
        now = self._effective_order()
        names = {name: visible(name) for name in self.info.columns or {}}
        value = now[0] if now is not None and now[0] in names else None
        self._choice.show(names, value, is_descending=now is not None and now[1] == "desc")

    async def _restart(self) -> None:
        self._cursors = [None]
        self._matching = None
        self._counting += 1
        self._moved(list(self.where), self._order)
        await self.load()
        if self.where:
            await self._count()

    async def _forward(self) -> None:
        self._cursors.append(self._next)
        await self.load()

    async def _back(self) -> None:
        self._cursors.pop()
        await self.load()

    async def _reload(self) -> None:
        await self.load()

    async def begin(self) -> None:
        """
        Show the first rows.
        """
        await self.load()
        if self.where:
            await self._count()

    # Looking for them

    async def load(self, fresh: Fresh | None = None) -> None:
        """
        Load the page of rows that is wanted.

        Args:
            fresh: What has changed, where nobody asked for this: it is marked, and nothing is said while it takes its time.
        """
        is_asked = fresh is None
        self._loading += int(is_asked)
        if is_asked:
            # Until the rows are there, "next" would be that of others.
            self._previous.disable()
            self._following.disable()
            self._grid.classes(add="is-waiting")
        try:
            await self._load(fresh)
        finally:
            self._loading -= int(is_asked)
            if not self._loading:
                self._grid.classes(remove="is-waiting")
                self._show_pages()

    async def _load(self, fresh: Fresh | None) -> None:
        is_quiet = fresh is not None
        self._asked += 1
        asked = self._asked
        self._is_stopped = False
        rows: list[dict[str, Any]] = []
        scanned = 0
        cursor = self._cursors[-1]
        order = self._effective_order()
        while True:
            found = await self._ask_rows(cursor, order, ROWS - len(rows))
            if asked != self._asked:
                return  # something else was asked for meanwhile
            if found is None:
                self._stop.set_visibility(False)
                return
            rows += found.rows
            scanned += found.scanned
            cursor = found.next
            if not found.partial or cursor is None or len(rows) >= ROWS or self._is_stopped:
                break
            if not is_quiet:
                self._stop.set_visibility(True)
                self._say(
                    self._page.t(
                        "Looked through {scanned} of {all} rows …", scanned=count(scanned), all=count(self.info.rows)
                    )
                )
                if rows:
                    self._show(rows, None)
        self._next = cursor
        self._is_outdated = False
        self._again.set_visibility(False)
        self._stop.set_visibility(False)
        self._show(rows, fresh)
        self._say_what_is_there()

    async def _ask_rows(self, cursor: str | None, order: tuple[str, str] | None, limit: int) -> RowPage | None:
        info, client = self.info, self._page.client

        async def ask() -> RowPage:
            try:
                found: RowPage = await client.rows(
                    info.task_id, info.schema, info.table, where=self.where, order=order, limit=limit, cursor=cursor
                )
            except InvalidRequest:
                if cursor is not None:
                    self._cursors = [None]  # of an order that the table does not have any more
                elif not self.where:
                    self._order = None
                raise
            return found

        before = len(self.where)
        found = await self._page.ask(ask())
        if found is None and before and cursor is None:
            # What can't be understood was told; the rows of before stay.
            await self._filters.withdraw()
        return found

    def _stop_looking(self) -> None:
        self._is_stopped = True
        self._stop.set_visibility(False)

    async def _count(self) -> None:
        """
        Count the rows that fit, beside their being shown.
        """
        self._counting += 1
        counting, info = self._counting, self.info
        cursor: str | None = None
        matching = 0
        while True:
            found = await self._page.attempt(
                self._page.client.count_rows(info.task_id, info.schema, info.table, where=self.where, cursor=cursor)
            )
            if found is None or counting != self._counting:
                return
            if isinstance(found, NotFoundError):
                self._can_count = False
                self._say_what_is_there()
                return
            if isinstance(found, FustorError):
                self._page.tell(found)
                return
            matching += found.count
            cursor = found.next
            self._matching = (matching, cursor is None)
            self._say_what_is_there()
            if cursor is None or self._is_stopped:
                return

    # What is to be seen

    def _say(self, text: str) -> None:
        if self._status.text != text:
            self._status.set_text(text)

    def _say_what_is_there(self) -> None:
        t = self._page.t
        if self._is_stopped and self._next is not None:
            self._say(t("Stopped. “Next” goes on looking."))
        elif self.where and self._matching is not None:
            number, is_all = self._matching
            english = "{number} rows fit" if is_all else "{number} rows fit so far …"
            self._say(t(english, number=count(number)))
        elif self.where and not self._can_count:
            self._say(t("The rows that fit; of a tree they are not counted."))
        else:
            self._say("")  # how many there are in all stands above

    def _show_pages(self) -> None:
        self._turn.set_visibility(len(self._cursors) > 1 or self._next is not None)
        self._previous.set_enabled(len(self._cursors) > 1)
        self._following.set_enabled(self._next is not None)
        number_text = self._page.t("Page {number}", number=len(self._cursors))
        if self._number.text != number_text:
            self._number.set_text(number_text)

    def _show(self, rows: list[dict[str, Any]], fresh: Fresh | None) -> None:
        keyed = self._keyed(rows)
        if fresh is not None:
            self._mark(keyed, fresh.keys or set())
        else:
            self._shown.states.clear()
            self._shown.fresh.clear()
        self._shown.rows = keyed
        self.draw()

    def _keyed(self, rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        if self.info.key:
            return {key_text([row.get(name) for name in self.info.key]): row for row in rows}
        return {f"#{at}": row for at, row in enumerate(rows)}

    def _mark(self, rows: dict[str, dict[str, Any]], told: set[str]) -> None:
        """
        Mark what differs from before. Rows that were deleted stay for a moment, so that one sees which.
        """
        if not self.info.key:
            return
        now = time.monotonic()
        before = self._shown.rows
        for key, row in rows.items():
            old = before.get(key)
            if old is None and key in told:
                self._shown.states[key] = ("new", now)
            elif old is not None and old != row:
                self._shown.states[key] = ("changed", now)
                self._shown.fresh[key] = {name for name in row if name not in old or old[name] != row[name]}
        gone = {key for key, (state, _) in self._shown.states.items() if state == "deleted" and key not in rows}
        above = ""
        behind: dict[str, list[str]] = {}
        for key in before:
            if key in gone:
                behind.setdefault(above, []).append(key)
            elif key in rows:
                above = key
        if behind:
            kept = dict(rows)
            rows.clear()
            for key in ["", *kept]:
                rows.update({key: kept[key]} if key else {})
                rows.update((one, before[one]) for one in behind.get(key, ()))

    def draw(self) -> None:
        """
        Show what is known; only what differs goes to the browser.
        """
        t = self._page.t
        info, columns = self.info, dict(self.info.columns or {})
        for row in list(self._shown.rows.values())[:1]:
            columns |= {name: None for name in row if name not in columns}
        self._columns = [name for name in self._columns if name in columns] or list(columns)[:COLUMNS]
        now = self._effective_order()
        ways = {"asc": "ascending", "desc": "descending"}
        numbers = {name for name in self._columns if is_number(columns[name]) or self._has_numbers(name, columns[name])}
        headings: list[Heading] = [
            {
                "name": name,
                "label": visible(name),
                "type": type_name(columns[name]),
                "is_number": name in numbers,
                "is_key": name in (info.key or ()),
                "sort": ways[now[1]] if now is not None and now[0] == name else "none",
            }
            for name in self._columns
        ]
        notes = {"new": t("new"), "changed": t("changed"), "deleted": t("deleted")}
        lines: list[Line] = []
        for key, row in self._shown.rows.items():
            state = self._shown.states.get(key, ("", 0.0))[0]
            fresh = self._shown.fresh.get(key, set())
            lines.append(
                {
                    "key": key,
                    "name": row_name(info, row) if info.key else key.removeprefix("#"),
                    "title": row_title(info, row) if info.key else "",
                    "cells": [
                        number_cell(made) if name in numbers else made
                        for name in self._columns
                        for made in [cell(row.get(name), columns[name])]
                    ],
                    "state": state,
                    "note": notes.get(state, ""),
                    "fresh": [at for at, name in enumerate(self._columns) if name in fresh],
                }
            )
        self._grid.set_visibility(bool(lines))
        self._nothing.set_visibility(not lines)
        if not lines:
            self._nothing.set_text(
                t("No row fits. Remove a filter, or look at its value.")
                if self.where
                else t("This table has no rows now. They appear here as soon as its source has some.")
            )
        hidden = len(columns) - len(self._columns)
        caption = t("{number} more columns are not shown: see “Choose columns”.", number=hidden) if hidden else ""
        self._grid.fill(caption, headings, lines)

    def _has_numbers(self, name: str, schema: Any) -> bool:
        """
        Tell whether a column of which no type is known shows nothing but numbers.
        """
        values = [value for row in self._shown.rows.values() if (value := row.get(name)) is not None]
        return not type_name(schema) and bool(values) and all(map(is_written_number, values))

    # What changes

    def _is_quick(self) -> bool:
        return self.info.rows <= QUICK_ROWS or (not self.where and self._effective_order() is None)

    async def follow(self, info: TableInfo, fresh: Fresh) -> None:
        """
        Take note of what has changed since the last time.
        """
        has_changed = info.changed_at != self.info.changed_at or info.rows != self.info.rows
        other_columns = info.columns != self.info.columns or info.key != self.info.key
        if other_columns:
            added = [name for name in info.columns or {} if name not in (self.info.columns or {})]
            self._columns += added[: max(0, COLUMNS - len(self._columns))]
        self.info = info
        if other_columns:
            self._filters.follow(info.columns or {})
            self._show_orders()
        self._forget_marks()
        for key in fresh.deleted & self._shown.rows.keys():
            self._shown.states[key] = ("deleted", time.monotonic())
        if self._loading:
            return  # what somebody asked for shows how things are then
        if (fresh.count or has_changed) and self._is_quick():
            await self.load(fresh)
            if self.where:
                await self._count()
            return
        if fresh.count or has_changed or self._is_outdated:
            await self._follow_rows(fresh, has_changed)
        self.draw()
        self._say_what_is_there()

    async def _follow_rows(self, fresh: Fresh, has_changed: bool) -> None:
        """
        Read the rows of the page again that have changed, and say that others may belong here.
        """
        here = set(self._shown.rows)
        touched = here if fresh.keys is None else here & fresh.keys
        for key in touched - fresh.deleted:
            await self._read_again(key)
        if has_changed or fresh.keys is None or fresh.keys - here:
            self._is_outdated = True
            self._again.set_visibility(True)

    async def _read_again(self, key: str) -> None:
        old = self._shown.rows.get(key)
        if old is None or not self.info.key:
            return
        info, asked = self.info, self._asked
        values = [old.get(name) for name in self.info.key]
        try:
            row = await self._page.client.row(info.task_id, info.schema, info.table, values)
        except NotFoundError:
            self._shown.states[key] = ("deleted", time.monotonic())
            return
        if asked == self._asked and row != old:
            self._shown.rows[key] = row
            self._shown.states[key] = ("changed", time.monotonic())
            self._shown.fresh[key] = {name for name in row if old.get(name) != row[name]}

    def _forget_marks(self) -> None:
        old = time.monotonic() - MARKED_S
        for key, (state, at) in list(self._shown.states.items()):
            if at < old:
                del self._shown.states[key]
                self._shown.fresh.pop(key, None)
                if state == "deleted":
                    self._shown.rows.pop(key, None)

    # What is beside it

    def _open(self, key: str, at: int) -> None:
        row = self._shown.rows.get(key)
        if row is not None:
            show_row(self._page, self.info, row, None if at < 0 else self._columns[at])

    def _export(self) -> None:
        offer_export(self._page, self.info, self.where, self._order, whole=not self.where)

    def _choose_columns(self) -> None:
        t = self._page.t
        boxes: dict[str, ui.checkbox] = {}

        def take() -> None:
            chosen = [name for name, box in boxes.items() if box.value]
            if chosen:
                self._columns = chosen
                self.draw()
            dialog.close()

        dialog, card = make_dialog(self._page, t("Choose columns"))
        with card:
            with ui.element("div").classes("column-choice"):
                for name in self.info.columns or {}:
                    boxes[name] = ui.checkbox(visible(name), value=name in self._columns)
            with ui.row().classes("console-actions"):
                action(t("Cancel"), Kind.PLAIN, dialog.close)
                action(t("Show"), Kind.CHANGE, take)
        dialog.on("hide", dialog.delete)
        dialog.open()
