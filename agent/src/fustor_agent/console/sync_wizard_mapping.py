"""
The fields on both sides of a sync: what the source has, what the consumer wants, and which becomes which.
"""

from __future__ import annotations

from typing import Any, Final

from nicegui import ui

from fustor_agent.console.source_wizard_draft import full_name
from fustor_agent.console.sync_wizard_draft import Line, SyncDraft
from fustor_core.errors import FustorError
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.formats import count
from fustor_web_ui.page import Page

_LOOKED_AT_BY_ITSELF: Final = 20
"""
Up to so many tables are asked for their fields without anybody choosing them.
"""


_MOST_OFFERED: Final = 400
"""
A field of the consumer is offered so many fields of the source; of more, those of the tables that it has already.
"""


class MappingStep:
    """
    The mapping of fields.

    Args:
        page: Where it stands.
        draft: The sync.
    """

    def __init__(self, page: Page, draft: SyncDraft) -> None:
        self._page = page
        self._draft = draft
        self._body: Any = None
        self._lines: Any = None
        self._targets: list[tuple[Line, Any, Any]] = []

    async def show(self) -> None:
        """
        Show both sides.
        """
        page, t, draft = self._page, self._page.t, self._draft
        waiting = ui.element("div").classes("console-bar").props("role=status")
        with waiting:
            ui.spinner().props("aria-hidden=true")
            ui.label(t("Asking source and consumer for their fields…"))
        troubles = [await draft.load_tables(page), await draft.load_needed(page)]
        if draft.maps or (draft.needed is not None and draft.needed.properties):
            await self._load_some()
        waiting.delete()
        self._tell(troubles)
        needs = list(draft.needed.properties) if draft.needed is not None else []
        if needs:
            draft.map_by_name()
            ui.label(
                t(
                    "The consumer asks for {number} fields. Say which field of the source each is made of.",
                    number=len(needs),
                )
            ).classes("console-lead")
        else:
            ui.label(
                t("The consumer takes whatever comes. By default every field is sent under its own name.")
            ).classes("console-lead")
            ui.switch(t("Choose fields, and give them other names"), value=draft.maps, on_change=self._switch)
        self._body = ui.element("div")
        await self._show_body()

    def _tell(self, troubles: list[FustorError | None]) -> None:
        for trouble in troubles:
            if trouble is None:
                continue
            with ui.element("div").classes("console-note is-bad").props("role=alert"):
                ui.label(self._page.told(trouble.message))
                if trouble.hint:
                    ui.label(self._page.told(trouble.hint))
                ui.label(self._page.t("You can go on all the same: fields are sent under their own names then."))

    async def _load_some(self) -> None:
        draft = self._draft
        named = {source.rpartition(".")[0] for line in draft.mapping for source in line.source}
        tables = draft.table_names
        wanted = [name for name in tables if name in named]
        if len(tables) <= _LOOKED_AT_BY_ITSELF:
            wanted = tables
        for table in wanted[:_LOOKED_AT_BY_ITSELF]:
            await draft.load_fields(self._page, table)

    async def _switch(self, event: Any) -> None:
        self._draft.maps = bool(event.value)
        if self._draft.maps:
            await self._load_some()
        await self._show_body()

    async def _show_body(self) -> None:
        t, draft = self._page.t, self._draft
        self._body.clear()
        self._targets = []
        with self._body:
            if not draft.maps:
                self._show_tables()
                return
            ui.label(
                t(
                    "Of a table that is named here only these fields and the key are sent; tables that are not named are sent as they are."
                )
            ).classes("console-lead")
            with ui.element("div").classes("console-bar"):
                missing = [name for name in draft.table_names if name not in draft.fields]
                if missing:
                    ui.select(
                        missing, label=t("Show the fields of another table"), with_input=True, on_change=self._look_at
                    ).props("outlined dense").classes("wizard-search")
                if draft.fields:
                    ui.select(
                        list(draft.fields),
                        label=t("Add all fields of a table"),
                        with_input=True,
                        on_change=self._add_table,
                    ).props("outlined dense").classes("wizard-search")
                action(t("Map by name"), Kind.CHANGE, self._map_by_name, icon="auto_fix_high")
                action(t("Add a field"), Kind.PLAIN, self._add, icon="add")
            self._lines = ui.element("div").props("role=group")
            self._lines.props["aria-label"] = t("Fields of the consumer")
            self._show_lines()

    def _show_tables(self) -> None:
        t, tables = self._page.t, self._draft.table_names
        if not tables:
            return
        shown = tables[:_LOOKED_AT_BY_ITSELF]
        columns = {full_name(table): table.columns for table in self._draft.tables or ()}
        ui.label(t("Tables of the source")).props('role=heading aria-level="3"').classes("wizard-part")
        ui.label(t("Open a table to see its fields.")).classes("wizard-hint")
        for table in shown:
            number = columns.get(table)
            if number is None and table in self._draft.fields:
                number = len(self._draft.fields[table])
            told = (
                None if number is None else t("1 field") if number == 1 else t("{number} fields", number=count(number))
            )
            with ui.expansion(table, caption=told).classes("wizard-more").props("dense") as expansion:
                box = ui.element("div")

            async def look(event: Any, table: str = table, box: Any = box) -> None:
                if not event.value or box.default_slot.children:
                    return
                trouble = await self._draft.load_fields(self._page, table)
                with box:
                    if trouble is not None:
                        ui.label(self._page.told(trouble.message))
                    for name in self._draft.fields.get(table, ()):
                        ui.label(name).classes("wizard-chip")

            expansion.on_value_change(look)
        if len(tables) > len(shown):
            ui.label(t("and {number} more", number=len(tables) - len(shown))).classes("wizard-hint")

    def _show_lines(self) -> None:
        t, draft = self._page.t, self._draft
        self._lines.clear()
        self._targets = []
        known = draft.known_fields()
        with self._lines:
            if not draft.mapping:
                ui.label(t("No field is mapped yet. Add all fields of a table, or one by one.")).classes(
                    "console-empty"
                )
            for line in draft.mapping:
                self._show_line(line, known)

    def _show_line(self, line: Line, known: list[str]) -> None:
        t = self._page.t
        if len(known) > _MOST_OFFERED:
            tables = {source.rpartition(".")[0] for source in line.source}
            known = [one for one in known if not tables or one.rpartition(".")[0] in tables][:_MOST_OFFERED]
        options = list(dict.fromkeys([*line.source, *known]))
        with ui.element("div").classes("wizard-line").props("role=group"):
            source = (
                ui.select(
                    options,
                    label=t("From"),
                    value=list(line.source),
                    multiple=True,
                    with_input=True,
                    on_change=lambda event: self._set_source(line, event.value),
                )
                .props("outlined dense use-chips")
                .classes("wizard-line-from")
            )
            ui.icon("arrow_forward").classes("wizard-arrow").props("aria-hidden=true")
            target = ui.input(
                t("To"), value=line.to, on_change=lambda event: self._set_target(line, event.value)
            ).props("outlined dense")
            if line.is_needed:
                target.props("readonly")
            ui.checkbox(
                t("required"), value=line.required, on_change=lambda event: setattr(line, "required", bool(event.value))
            ).tooltip(t("A row without a value for it is refused."))
            if len(line.source) > 1:
                ui.select(
                    {"first": t("the first that is not empty"), "join": t("all, joined as text")},
                    label=t("Of several"),
                    value=line.combine,
                    on_change=lambda event: setattr(line, "combine", event.value),
                ).props("outlined dense")
            remove = action("", Kind.DELETE, lambda: self._remove(line), icon="close")
            remove.props["aria-label"] = t("Leave out {name}", name=line.to or t("this field"))
        self._targets.append((line, source, target))

    def _set_source(self, line: Line, value: Any) -> None:
        had_several = len(line.source) > 1
        line.source = list(value or ())
        if not line.to and line.source:
            line.to = line.source[0].rpartition(".")[2]
            self._show_lines()
        elif had_several != (len(line.source) > 1):
            self._show_lines()

    def _set_target(self, line: Line, value: Any) -> None:
        line.to = str(value or "").strip()

    async def _look_at(self, event: Any) -> None:
        if event.value:
            trouble = await self._draft.load_fields(self._page, str(event.value))
            if trouble is not None:
                self._page.tell(trouble)
            await self._show_body()

    async def _add_table(self, event: Any) -> None:
        if not event.value:
            return
        table, taken = str(event.value), {line.to for line in self._draft.mapping}
        for name in self._draft.fields.get(table, ()):
            full = f"{table}.{name}" if table else name
            if name in taken:
                for line in self._draft.mapping:
                    if line.to == name and full not in line.source:
                        line.source.append(full)
            else:
                self._draft.mapping.append(Line(name, [full]))
        await self._show_body()

    def _add(self) -> None:
        self._draft.mapping.append(Line())
        self._show_lines()

    def _remove(self, line: Line) -> None:
        self._draft.mapping.remove(line)
        self._show_lines()

    def _map_by_name(self) -> None:
        done = self._draft.map_by_name()
        self._show_lines()
        told = (
            self._page.t("{number} fields are mapped.", number=done)
            if done
            else self._page.t("No more fields have the same name on both sides.")
        )
        ui.notify(told, type="positive" if done else "info")

    async def leave(self) -> bool:
        """
        Check that each line is whole, and that what the consumer can't do without is there.
        """
        t, draft = self._page.t, self._draft
        if not draft.maps:
            return True
        well = True
        required = set(draft.needed.required) if draft.needed is not None else set()
        for line, source, target in self._targets:
            lacks_source = not line.source and (line.to in required or not line.is_needed)
            source.error = (
                (t("The consumer can't do without this field.") if line.to in required else t("This is needed."))
                if lacks_source
                else None
            )
            target.error = None if line.to else t("This is needed.")
            well = well and not lacks_source and bool(line.to)
        return well
