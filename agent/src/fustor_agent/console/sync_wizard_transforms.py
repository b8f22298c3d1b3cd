"""
What happens to rows on their way: a list of steps, each with its form, and beside them real rows before and after.
"""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Any, Final

from nicegui import background_tasks, ui

from fustor_agent.console.sync_wizard_draft import SyncDraft
from fustor_agent.console.sync_wizard_forms import StepForm
from fustor_agent.console.sync_wizard_preview import show_preview
from fustor_agent.driver_tables import literal_glob
from fustor_core.errors import FustorError
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page

_KINDS: Final = {
    "filter": ("filter_alt", "Keep only some rows"),
    "select": ("checklist", "Keep only some fields"),
    "drop": ("backspace", "Leave fields out"),
    "rename": ("drive_file_rename_outline", "Rename fields"),
    "mask": ("visibility_off", "Mask field values"),
    "constant": ("push_pin", "Add a field with a fixed value"),
    "derive": ("functions", "Add a computed field"),
}
_NEW: Final[dict[str, dict[str, Any]]] = {
    "filter": {"where": ""},
    "select": {"fields": []},
    "drop": {"fields": []},
    "rename": {"fields": {}},
    "mask": {"fields": [], "method": "redact"},
    "constant": {"to": "", "value": ""},
    "derive": {"to": "", "value": ""},
}
_QUIET_S: Final = 0.5
_ROWS: Final = 8
_MOST_OFFERED: Final = 500


class TransformsStep:
    """
    The transforms of a sync.

    Args:
        page: Where it stands.
        draft: The sync.
    """

    def __init__(self, page: Page, draft: SyncDraft) -> None:
        self._page = page
        self._draft = draft
        self._forms: list[StepForm] = []
        self._list: Any = None
        self._preview: Any = None
        self._working: Any = None
        self._table = ""
        self._asked = 0

    async def show(self) -> None:
        """
        Show the steps, and the preview.
        """
        t, draft = self._page.t, self._draft
        ui.label(
            t("Rows can be changed on their way. Without any step they are sent as they are, so you may simply go on.")
        ).classes("console-lead")
        tables = draft.tables_with_rows
        if self._table not in tables:
            self._table = tables[0] if tables else ""
        await self._load_fields()
        with ui.element("div").classes("wizard-changes"):
            with ui.element("div"):
                self._list = ui.element("div").props("role=group")
                self._list.props["aria-label"] = t("Steps")
                ui.label(t("Add a step")).props('role=heading aria-level="3"').classes("wizard-part")
                with ui.element("div").classes("wizard-kinds"):
                    for kind, (icon, english) in _KINDS.items():
                        action(t(english), Kind.PLAIN, partial(self._add, kind), icon=icon)
            with ui.element("section").classes("wizard-preview"):
                with ui.element("div").classes("preview-head"):
                    ui.label(t("Preview on real rows")).props('role=heading aria-level="3"').classes("wizard-part")
                    self._working = ui.label().classes("wizard-hint preview-status").props("role=status")
                if len(tables) > 1:
                    ui.select(
                        tables[:_MOST_OFFERED],
                        label=t("Table"),
                        value=self._table,
                        with_input=True,
                        on_change=lambda event: self._look_at(str(event.value or "")),
                    ).props("outlined dense").classes("wizard-search")
                self._preview = ui.element("div").classes("preview").props("aria-live=polite")
        self._show_forms()
        self.changed(at_once=True)

    async def _load_fields(self) -> None:
        await self._draft.load_fields(self._page, self._table)

    async def _look_at(self, table: str) -> None:
        if table and table != self._table:
            self._table = table
            await self._load_fields()
            self.changed(at_once=True)

    # -- the list of steps -------------------------------------------------------------------------------------------

    def _show_forms(self, *, open_last: bool = False) -> None:
        t, steps = self._page.t, self._draft.steps
        self._list.clear()
        self._forms = []
        with self._list:
            for at, step in enumerate(steps):
                icon, english = _KINDS.get(str(step.get("type")), ("help", str(step.get("type"))))
                with ui.element("div").classes("wizard-change").props("role=group"):
                    with ui.element("div").classes("wizard-change-head"):
                        ui.icon(icon).props("aria-hidden=true")
                        ui.label(f"{at + 1}. {t(english)}").classes("wizard-change-title")
                        for label, icon_name, move in (
                            (t("Move step {number} up", number=at + 1), "arrow_upward", -1),
                            (t("Move step {number} down", number=at + 1), "arrow_downward", 1),
                        ):
                            button = action("", Kind.PLAIN, partial(self._move, at, move), icon=icon_name)
                            button.props["aria-label"] = label
                            button.set_enabled(0 <= at + move < len(steps))
                        button = action("", Kind.DELETE, partial(self._remove, at), icon="delete")
                        button.props["aria-label"] = t("Remove step {number}", number=at + 1)
                    self._forms.append(
                        StepForm(self._page, step, self._draft, self.changed, focus=open_last and at + 1 == len(steps))
                    )

    def _add(self, kind: str) -> None:
        new = {
            "type": kind,
            **{name: value.copy() if hasattr(value, "copy") else value for name, value in _NEW[kind].items()},
        }
        if len(self._draft.table_names) > 1:
            # A step is meant for the rows that one looks at; taking the table out means all tables.
            new["tables"] = [literal_glob(self._table)]
        self._draft.steps.append(new)
        self._show_forms(open_last=True)
        self.changed()

    def _remove(self, at: int) -> None:
        del self._draft.steps[at]
        self._show_forms()
        self.changed(at_once=True)

    def _move(self, at: int, by: int) -> None:
        steps = self._draft.steps
        steps[at], steps[at + by] = steps[at + by], steps[at]
        self._show_forms()
        self.changed(at_once=True)

    # -- the preview -------------------------------------------------------------------------------------------------

    def changed(self, *, at_once: bool = False) -> None:
        """
        Something was changed: show what becomes of rows, once it has been quiet for a moment.
        """
        self._asked += 1
        number = self._asked
        slot = self._preview
        self._show_working(is_working=True)

        async def later() -> None:
            if not at_once:
                await asyncio.sleep(_QUIET_S)
            if number == self._asked and not slot.is_deleted:
                with slot:
                    await self._look(number)
            if number == self._asked and not slot.is_deleted:
                self._show_working(is_working=False)

        background_tasks.create(later(), name="preview of transforms")

    def _show_working(self, *, is_working: bool) -> None:
        # What is shown was made of what the steps said before: it must not look as if it were of what they say now.
        self._working.set_text(self._page.t("Working out the preview…") if is_working else "")
        self._preview.classes(**{"add" if is_working else "remove": "is-stale"})
        self._preview.props["aria-busy"] = "true" if is_working else "false"
        self._preview.update()

    async def _look(self, number: int) -> None:
        page, t = self._page, self._page.t
        whole = [form.is_whole() for form in self._forms]
        if not all(whole):
            self._preview.clear()
            with self._preview:
                ui.label(t("Fill in the step to see what it does.")).classes("console-empty")
            return
        found = await self._ask()
        if number != self._asked or found is None or self._preview.is_deleted:
            return
        for form in self._forms:
            form.blame(None, None)
        self._preview.clear()
        with self._preview:
            if isinstance(found, FustorError):
                self._tell(found)
            elif not found.tables:
                ui.label(t("There are no rows here yet to show it on.")).classes("console-empty")
            else:
                for table in found.tables[:1]:
                    show_preview(page, table)
                    if table.error is not None:
                        self._blame(table.error)

    async def _ask(self) -> Any:
        page, draft = self._page, self._draft
        return await page.attempt(
            page.client.preview(
                draft.steps,
                draft.lines(),
                source=draft.source,
                sync=draft.id,
                tables=[self._table] if self._table and draft.lists_tables else None,
                rows=_ROWS,
            )
        )

    def _tell(self, error: FustorError) -> None:
        if not self._blame(error.to_dict()):
            with ui.element("div").classes("console-note is-bad").props("role=alert"):
                ui.label(self._page.told(error.message))
                if error.hint:
                    ui.label(self._page.told(error.hint))
        else:
            ui.label(self._page.t("Mend the step that is marked to see what becomes of rows.")).classes("console-empty")

    def _blame(self, error: dict[str, Any]) -> bool:
        place = str((error.get("context") or {}).get("place") or error.get("message") or "")
        match = re.search(r"transforms\.(\d+)(?:\.(\w+))?", place)
        by_number = re.match(r"step (\d+) ", str(error.get("message") or ""))
        at = int(match[1]) if match else int(by_number[1]) - 1 if by_number else len(self._forms)
        if at >= len(self._forms):
            return False
        told = self._page.told_with(str(error.get("message")), str(error.get("hint") or ""))
        self._forms[at].blame(match[2] if match else None, told)
        return True

    async def leave(self) -> bool:
        """
        Check the steps as far as that can be done before they run.
        """
        whole = [form.is_whole(tell=True) for form in self._forms]  # every one of them says what it lacks
        if not all(whole):
            return False
        if not self._forms:
            return True
        found = await self._ask()
        if found is None:
            return False
        if isinstance(found, FustorError):
            return not self._blame(found.to_dict())
        return not any(table.error is not None and self._blame(table.error) for table in found.tables)
