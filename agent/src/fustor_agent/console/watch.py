"""
The page of one sync: its live picture, all its figures, and each of its tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nicegui import ui

from fustor_agent.console.entries import path_of
from fustor_agent.console.sync_card import SyncCard
from fustor_agent.console.words import TABLE
from fustor_client.models import SyncState, TableState
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.copyable import copy_text
from fustor_web_ui.formats import count, size, span
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.states import Mood, state
from fustor_web_ui.tables import Column, PagedTable, Part

_REFRESH_S: Final = 1.0
_TABLES_REFRESH_S: Final = 5.0
_ROWS: Final = 50
_PROBLEMS: Final = 20
_OF_AN_ID: Final = 8


@console_page("/watch/{name}", "Sync")
async def watch(page: Page, name: str) -> None:
    """
    Show one sync as it is now.
    """
    t = page.t
    found = await page.ask(page.client.instance(name))
    if found is None:
        ui.label(
            t("The sync {name} does not run here. A new one is there once the changes are applied.", name=name)
        ).classes("console-empty")
        return
    with ui.element("div").classes("console-bar"):
        action(t("All syncs"), Kind.PLAIN, lambda: page.go("/"), icon="chevron_left")
        action(t("Edit"), Kind.CHANGE, lambda: page.go(path_of("syncs", name, "edit")), icon="edit")
        action(t("Edit as text"), Kind.CHANGE, lambda: page.go(path_of("syncs", name, "text")), icon="notes")
        action(t("Dead letters"), Kind.PLAIN, lambda: page.go("/dead-letters", sync=name), icon="report")
        action(t("Log"), Kind.PLAIN, lambda: page.go("/logs", text=name), icon="article")
    shown = _Watch(page, found)
    await shown.show_tables()
    ui.timer(_REFRESH_S, shown.refresh, immediate=False)
    ui.timer(_TABLES_REFRESH_S, shown.show_tables, immediate=False)


class _Watch:
    def __init__(self, page: Page, sync: SyncState) -> None:
        self._page = page
        self._sync = sync
        self._tables: list[tuple[Any, ...]] = []
        self._text = ""
        t = page.t
        self._card = SyncCard(page, sync, self.refresh, leads_on=False)
        self._problems = ui.element("div")
        self._told: list[dict[str, Any]] = []
        with ui.element("dl").classes("figures") as self._figures_box:
            self._figures = {label: self._figure(t(label)) for label in _FIGURES}
            self._session = _Session(page)
        ui.label(t("Tables")).props('role=heading aria-level="2"').classes("console-subtitle is-next")
        with ui.element("div").classes("console-bar"):
            ui.input(t("Search"), on_change=lambda event: self._search(event.value)).props(
                "outlined dense debounce=400 type=search"
            )
        self._table: PagedTable[TableState] = PagedTable(
            page,
            t("Tables of this sync, those with errors first"),
            [
                Column(t("Table"), lambda one: one.table, shape="is-long is-table"),
                Column(t("State"), fill=self._state, shape="is-how"),
            ],
            self._load,
            empty=t(
                "No table is known yet: none has had a change since the sync was started, and no snapshot has read any."
            ),
        )
        self.update(sync)

    def _figure(self, label: str) -> ui.label:
        with ui.element("div"):
            with ui.element("dt"):
                ui.label(label)
            with ui.element("dd"):
                return ui.label()

    async def refresh(self) -> None:
        """
        Ask how the sync is, and show what has changed.
        """
        found = await self._page.ask(self._page.client.instances(text=self._sync.id, tables=0))
        for sync in () if found is None else found.syncs:
            if sync.id == self._sync.id:
                self.update(sync)

    def update(self, sync: SyncState) -> None:
        """
        Show the sync as it is now.
        """
        self._sync = sync
        self._card.update(sync)
        for label, tell in _FIGURES.items():
            self._figures[label].text = tell(self._page, sync)
        self._session.show(sync.session_id or "")
        problems = list((sync.source_status or {}).get("problems", []))[:_PROBLEMS]
        if problems != self._told:
            self._told = problems
            self._show_problems(problems)

    def _show_problems(self, problems: list[dict[str, Any]]) -> None:
        t = self._page.t
        self._problems.clear()
        if not problems:
            return
        with self._problems, ui.element("section").classes("banner is-wait") as box:
            box.props["aria-label"] = t("What the source tells")
            with ui.element("div"):
                ui.label(t("What the source tells")).classes("banner-title")
                with ui.element("ul").classes("banner-list"):
                    for problem in problems:
                        with ui.element("li"):
                            ui.label(f"{problem.get('where', '')}: {self._page.told(problem.get('what', ''))}")
                            if hint := problem.get("hint"):
                                ui.label(t("What to do: {hint}", hint=self._page.told(hint))).classes("banner-hint")

    async def show_tables(self) -> None:
        """
        Ask for the tables, and show the page of them anew if one has changed.
        """
        await self._table.refresh()

    async def _search(self, text: str | None) -> None:
        self._text = (text or "").strip().casefold()
        await self._table.restart()

    async def _load(self, cursor: str | None) -> Part | None:
        found = await self._page.ask(self._page.client.instance(self._sync.id))
        if found is None:
            return None
        order = {name: at for at, name in enumerate(TABLE)}
        tables = sorted(
            (one for one in found.tables if self._text in one.table.casefold()),
            key=lambda one: order.get(one.state, len(order)),
        )
        begin = int(cursor or 0)
        return Part(tables[begin : begin + _ROWS], str(begin + _ROWS) if begin + _ROWS < len(tables) else None)

    def _state(self, table: TableState) -> None:
        with ui.element("div").classes("cell-how"):
            self._tell_state(table)

    def _tell_state(self, table: TableState) -> None:
        t = self._page.t
        word, mood = TABLE.get(table.state, (table.state, Mood.OFF))
        state(t(word), mood)
        if table.rows is not None:
            ui.label(self._copied(table.rows, table.rows_expected)).classes("cell-problem")
        if table.reason:
            ui.label(self._page.told(table.reason)).classes("cell-problem")
        if table.hint:
            ui.label(t("What to do: {hint}", hint=self._page.told(table.hint))).classes("cell-problem")
        if table.next_try_s is not None:
            ui.label(t("It is tried again in {time}.", time=span(self._page, table.next_try_s))).classes("cell-problem")

    def _copied(self, rows: int, expected: int | None) -> str:
        if expected is None:
            return self._page.t("Snapshot: {rows} rows so far", rows=count(rows))
        return self._page.t("Snapshot: {rows} of about {all} rows", rows=count(rows), all=count(max(rows, expected)))


class _Session:
    """
    The id of the session among the figures: its beginning is enough to tell it from others, and all of it can be copied.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._id = ""
        with ui.element("div"):
            with ui.element("dt"):
                ui.label(page.t("Session"))
            with ui.element("dd").classes("figure-with-button"):
                self._label = ui.label("–")
                self._copy = (
                    ui.button(icon="content_copy", on_click=self._do_copy, color=None)
                    .props("flat round dense size=sm")
                    .classes("figure-copy")
                )
                self._copy.props["aria-label"] = page.t("Copy the id of the session")
                self._copy.visible = False

    def show(self, id_: str) -> None:
        """
        Show the id of a session; "" is none.
        """
        if id_ == self._id:
            return
        self._id = id_
        is_long = len(id_) > _OF_AN_ID + 1
        self._label.text = f"{id_[:_OF_AN_ID]}…" if is_long else id_ or "–"
        self._label.props["title"] = id_
        self._label.update()
        self._copy.visible = bool(id_)

    def _do_copy(self) -> None:
        copy_text(self._page, self._id)


def _position(page: Page, sync: SyncState) -> str:
    return sync.position or "–"


def _behind(page: Page, sync: SyncState) -> str:
    if sync.lag_bytes is None:
        return "–"
    return size(sync.lag_bytes) if sync.lag_bytes else page.t("nothing")


_FIGURES: Final[dict[str, Callable[[Page, SyncState], str]]] = {
    "Rows read": lambda page, sync: count(sync.read_rows),
    "Rows confirmed": lambda page, sync: count(sync.pushed_rows),
    "Bytes sent": lambda page, sync: size(sync.sent_bytes),
    "Waiting events": lambda page, sync: f"{count(sync.queue_events)} ({size(sync.queue_bytes)})",
    "Pushes sent again": lambda page, sync: count(sync.retries),
    "Restarts": lambda page, sync: count(sync.restarts),
    "Dead letters": lambda page, sync: count(sync.dead_letters),
    "Position": _position,
    "Log not yet confirmed": _behind,
}
