"""
Real rows of a source, before it is saved.
"""

from __future__ import annotations

from typing import Any, Final

from nicegui import background_tasks, ui

from fustor_agent.console.sample_rows import sample_rows
from fustor_agent.console.source_wizard_draft import SourceDraft, full_name
from fustor_core.errors import FustorError
from fustor_web_ui.page import Page

_ROWS: Final = 10
_MOST_OFFERED: Final = 500


class RowsStep:
    """
    The first rows of a table.

    Args:
        page: Where it stands.
        draft: The source.
    """

    def __init__(self, page: Page, draft: SourceDraft) -> None:
        self._page = page
        self._draft = draft
        self._box: Any = None
        self._asked = 0

    def _tables(self) -> list[str]:
        draft = self._draft
        # Those that have rows first: it is rows that one wants to see.
        known = sorted(draft.known or (), key=lambda table: -(table.rows or 0))
        readable = [full_name(table) for table in known if not table.problem]
        if draft.choice.everything or "include" not in draft.choosable:
            return readable
        chosen = draft.choice.tables
        return [name for name in readable if name in chosen]

    async def show(self) -> None:
        """
        Show rows of the first table, and let others be looked at.
        """
        t, tables = self._page.t, self._tables()
        if self._draft.known and not tables:
            ui.label(t("None of the tables can be read, so there are no rows to show.")).classes("console-empty")
            return
        ui.label(
            t("These are the first rows of the table, as the agent reads them. Nothing has been sent anywhere.")
        ).classes("console-lead")
        if len(tables) > 1:
            ui.select(
                tables[:_MOST_OFFERED],
                label=t("Table"),
                value=tables[0],
                with_input=True,
                on_change=lambda event: self._look(event.value),
            ).props("outlined").classes("console-field")
        self._box = ui.element("div")
        first = tables[0] if tables else None
        # Who knows the data may go on without waiting for it.
        background_tasks.create(self._look_there(self._box, first), name="rows of a source")

    async def _look_there(self, box: Any, table: str | None) -> None:
        with box:
            await self._look(table)

    async def _look(self, table: str | None) -> None:
        page, t, draft = self._page, self._page.t, self._draft
        self._asked = asked = self._asked + 1
        self._box.clear()
        with self._box, ui.element("div").classes("console-bar").props("role=status"):
            ui.spinner().props("aria-hidden=true")
            ui.label(t("Reading rows…"))
        found = await page.attempt(
            page.client.rows(
                draft.driver,
                tables=None if table is None else [table],
                rows=_ROWS,
                **draft.trial(with_choice=True),
            )
        )
        if asked != self._asked or found is None or self._box.is_deleted:
            return
        self._box.clear()
        with self._box:
            if isinstance(found, FustorError):
                with ui.element("div").classes("console-note is-bad").props("role=alert"):
                    ui.label(t("No rows could be read: {reason}", reason=page.told(found.message)))
                    if found.hint:
                        ui.label(page.told(found.hint))
                return
            if not any(one.rows for one in found.tables):
                ui.label(t("There are no rows here yet. What is written later is read as it comes.")).classes(
                    "console-empty"
                )
            for one in found.tables:
                name = f"{one.schema}.{one.table}" if one.schema else one.table
                sample_rows(page, t("Rows of {name}", name=name), one.fields, one.key, one.rows)
