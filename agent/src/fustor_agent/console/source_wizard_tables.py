"""
Which tables of a source, and which of their columns. The list is searched and cut here; a window holds one page of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from nicegui import ui

from fustor_agent.console.source_wizard_draft import Choice, SourceDraft, full_name
from fustor_client.agent_models import Table
from fustor_core.errors import FustorError
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.dialogs import make_dialog
from fustor_web_ui.formats import count
from fustor_web_ui.page import Page
from fustor_web_ui.tables import Column, PagedTable, Part

_AT_ONCE: Final = 25
_MOST: Final = 20_000


class TablesStep:
    """
    The choice of tables.

    Args:
        page: Where it stands.
        draft: The source.
    """

    def __init__(self, page: Page, draft: SourceDraft) -> None:
        self._page = page
        self._draft = draft
        self._search = ""
        self._list: Any = None
        self._table: PagedTable[Table] | None = None
        self._summary: Any = None
        self._trouble: Any = None

    @property
    def _choice(self) -> Choice:
        return self._draft.choice

    async def show(self) -> None:
        """
        Show what there is to choose from.
        """
        t, draft = self._page.t, self._draft
        if draft.known is None and not await self._load():
            return
        known = draft.known or []
        if not known:
            self._nothing_to_choose()
            return
        if "include" not in draft.choosable:
            ui.label(t("This source has {number} tables; all of them are read.", number=count(len(known)))).classes(
                "console-lead"
            )
        else:
            ui.label(t("Rows of the tables that you choose here may leave the source, no others.")).classes(
                "console-lead"
            )
            ui.switch(
                t("All tables, also those that are made later"),
                value=self._choice.everything,
                on_change=self._all_or_some,
            )
        self._list = ui.element("div")
        await self._show_list()

    async def _load(self) -> bool:
        page, draft = self._page, self._draft
        waiting = ui.element("div").classes("console-bar").props("role=status")
        with waiting:
            ui.spinner().props("aria-hidden=true")
            ui.label(page.t("Looking for tables…"))
        found = await page.attempt(page.client.tables(draft.driver, limit=_MOST, **draft.trial()))
        waiting.delete()
        if found is None:
            return False
        if isinstance(found, FustorError):
            with ui.element("div").classes("console-note is-bad").props("role=alert"):
                ui.label(
                    page.t("The tables can't be listed: {reason}", reason=page.told_with(found.message, found.hint))
                )
                ui.label(page.t("You can go on: all tables are read then."))
            return False
        draft.known, draft.choosable = list(found.rows), list(found.choosable)
        there = {full_name(table) for table in draft.known}
        self._choice.tables = {name: None for name in self._choice.tables if name in there}
        self._choice.without = {name: left for name, left in self._choice.without.items() if name in there}
        return True

    def _nothing_to_choose(self) -> None:
        t, draft = self._page.t, self._draft
        if draft.can("get_available_tables"):
            ui.label(
                t(
                    "There is no table yet, or the account may see none. Go on, and tables that are made later are read too; or go back and choose another database."
                )
            ).classes("console-empty")
        else:
            ui.label(t("There is nothing to choose: all of the source is read, as the connection step says.")).classes(
                "console-empty"
            )

    async def _all_or_some(self, event: Any) -> None:
        self._choice.everything = bool(event.value)
        await self._show_list()

    async def _show_list(self) -> None:
        t = self._page.t
        self._list.clear()
        with self._list:
            if not self._choice.everything:
                with ui.element("div").classes("console-bar"):
                    action(t("Choose all shown"), Kind.PLAIN, lambda: self._mark_all(True), icon="done_all")
                    action(t("Choose none"), Kind.PLAIN, lambda: self._mark_all(False), icon="remove_done")
            with ui.element("div").classes("console-bar"):
                ui.input(t("Search"), value=self._search, on_change=self._look_for).props(
                    "outlined dense clearable debounce=250 type=search"
                ).classes("wizard-search")
                self._summary = ui.label().props("role=status").classes("wizard-hint")
            self._trouble = ui.element("div")
            self._table = PagedTable(
                self._page, t("Tables"), self._columns(), self._part, empty=t("No table has this in its name.")
            )
            await self._table.show()
        self._sum_up()

    async def _look_for(self, event: Any) -> None:
        self._search = str(event.value or "")
        if self._table is not None:
            await self._table.restart()
        self._sum_up()

    def _found(self) -> Sequence[Table]:
        wanted = self._search.casefold()
        return [table for table in self._draft.known or () if wanted in full_name(table).casefold()]

    async def _part(self, cursor: str | None) -> Part:
        found, begin = self._found(), int(cursor or 0)
        end = begin + _AT_ONCE
        return Part(found[begin:end], str(end) if end < len(found) else None)

    def _sum_up(self) -> None:
        t, known = self._page.t, self._draft.known or []
        if self._summary is None:
            return
        if self._choice.everything:
            self._summary.set_text(t("{number} tables", number=count(len(known))))
        else:
            chosen = len(self._choice.tables)
            self._summary.set_text(
                t("{chosen} of {number} tables chosen", chosen=count(chosen), number=count(len(known)))
            )

    async def _mark_all(self, chosen: bool) -> None:
        if chosen:
            self._choice.tables |= {full_name(table): None for table in self._found() if not table.problem}
        else:
            self._choice.tables.clear()
        if self._table is not None:
            await self._table.show()
        self._sum_up()

    def _columns(self) -> list[Column[Table]]:
        t = self._page.t
        made: list[Column[Table]] = []
        if "include" in self._draft.choosable and not self._choice.everything:
            made.append(Column(t("Read"), fill=self._box))
        made += [
            Column(t("Table"), fill=self._name),
            Column(t("Rows"), lambda table: rows_of(self._page, table), is_number=True),
            Column(t("Columns"), fill=self._columns_of, is_number=True),
        ]
        return made

    def _box(self, table: Table) -> None:
        name = full_name(table)

        def mark(event: Any) -> None:
            if event.value:
                self._choice.tables[name] = None
            else:
                self._choice.tables.pop(name, None)
            if self._trouble is not None:
                self._trouble.clear()
            self._sum_up()

        box = ui.checkbox(value=name in self._choice.tables, on_change=mark)
        box.props["aria-label"] = self._page.t("Read {name}", name=name)
        box.set_enabled(not table.problem)

    def _name(self, table: Table) -> None:
        t = self._page.t
        with ui.element("div").classes("wizard-table"):
            ui.label(full_name(table)).classes("wizard-table-name")
            if table.problem:
                ui.label(t("can't be read: {reason}", reason=self._page.told(table.problem))).classes("wizard-problem")
                if table.hint:
                    ui.label(self._page.told(table.hint)).classes("wizard-hint")
            elif table.key == []:
                ui.label(t("without a key: it works, and is slower to read")).classes("wizard-hint")

    def _columns_of(self, table: Table) -> None:
        t, name = self._page.t, full_name(table)
        left_out = len(self._choice.without.get(name, ()))
        total = "" if table.columns is None else count(table.columns)
        if "exclude_columns" not in self._draft.choosable or table.problem:
            ui.label(total)
            return
        if table.columns is None:
            told = t("Choose")
        elif not left_out:
            told = t("all {number}", number=total)
        else:
            told = t("{chosen} of {number}", chosen=count(table.columns - left_out), number=total)
        action(
            told,
            Kind.PLAIN,
            lambda: self._choose_columns(table),
            icon="view_column",
            describes=t("Choose the columns of {name}", name=name),
        )

    async def _choose_columns(self, table: Table) -> None:
        page, t, draft, name = self._page, self._page.t, self._draft, full_name(table)
        fields = await page.act(page.client.fields("sources", draft.driver, table=name, **draft.trial()))
        if fields is None or fields is True:
            return
        key = set(table.key or ())
        left_out = self._choice.without.get(name, set())
        boxes: dict[str, Any] = {}
        dialog, card = make_dialog(page, t("Columns of {name}", name=name))
        with card:
            ui.label(t("What is not ticked never leaves the source. The key is always sent.")).classes("console-lead")
            with ui.element("div").classes("wizard-columns"):
                for column in fields.properties:
                    boxes[column] = ui.checkbox(column, value=column in key or column not in left_out)
                    boxes[column].set_enabled(column not in key)

            async def keep() -> None:
                out = {column for column, box in boxes.items() if not box.value and column not in key}
                if out:
                    self._choice.without[name] = out
                else:
                    self._choice.without.pop(name, None)
                dialog.close()
                if self._table is not None:
                    await self._table.show()

            with ui.element("div").classes("console-actions"):
                action(t("Cancel"), Kind.PLAIN, dialog.close)
                action(t("Use these columns"), Kind.CHANGE, keep)
        dialog.open()

    async def leave(self) -> bool:
        """
        Check that something was chosen.
        """
        if "include" in self._draft.choosable and not self._choice.everything and not self._choice.tables:
            self._trouble.clear()
            with self._trouble, ui.element("div").classes("console-note is-bad").props("role=alert"):
                ui.label(self._page.t("No table is chosen. Tick those to read, or switch to all tables."))
            return False
        return True


def rows_of(page: Page, table: Table) -> str:
    """
    Say how many rows a table has, and whether that was counted.
    """
    if table.rows is None:
        return page.t("not known")
    return count(table.rows) if table.is_exact else page.t("about {number}", number=count(table.rows))
