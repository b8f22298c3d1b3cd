"""
The page of the audit trail.
"""

from __future__ import annotations

from typing import Any, Final

from nicegui import ui

from fustor_client.models import AuditEntry
from fustor_registry.console.audit_words import ACTIONS, GROUPS, Names, action_of, actor_of, details_of, target_of
from fustor_web_ui.formats import shown
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.tables import Column, PagedTable, Part

_ROWS: Final = 50
_ALL: Final = ""


@console_page("/audit", "Audit trail")
async def audit(page: Page) -> None:
    """
    Show who changed what, newest first.
    """
    t = page.t
    wanted: dict[str, Any] = {}
    names = await _names(page)

    async def load(cursor: str | None) -> Part | None:
        filters = {name: value for name, value in wanted.items() if value}
        before = {} if cursor is None else {"before": int(cursor)}
        entries = await page.ask(page.client.audit(limit=_ROWS + 1, **before, **filters))
        if entries is None:
            return None
        more = len(entries) > _ROWS
        return Part(entries[:_ROWS], str(entries[_ROWS - 1].id) if more else None)

    async def narrow(name: str, value: str | None) -> None:
        wanted[name] = (value or "").strip()
        await table.restart()

    with ui.element("div").classes("console-bar is-top"):
        who = ui.input(t("Who"), on_change=lambda event: narrow("actor", event.value))
        who.props("outlined dense clearable debounce=400 bottom-slots").classes("audit-filter")
        who.props["hint"] = t("a user name in full, or an API key as key:1a2b3c4d")
        ui.select(
            {_ALL: t("Everything"), **{name: t(english) for name, english in {**GROUPS, **ACTIONS}.items()}},
            label=t("What was done"),
            value=_ALL,
            on_change=lambda event: narrow("action", event.value),
        ).props("outlined dense options-dense").classes("audit-filter")
    table: PagedTable[AuditEntry] = PagedTable(
        page,
        t("Changes, newest first"),
        [
            Column(t("When"), lambda entry: shown(page, entry.at), shape="is-short"),
            Column(t("Who"), lambda entry: actor_of(page, entry, names)),
            Column(t("What was done"), lambda entry: action_of(page, entry), shape="is-words"),
            Column(t("To what"), lambda entry: target_of(entry, names)),
            Column(t("Details"), lambda entry: details_of(page, entry, names), shape="is-long is-listed"),
            Column(t("Address"), lambda entry: entry.address, shape="is-short"),
        ],
        load,
        empty=t("Nothing was changed that you may see, or nothing matches."),
    )
    await table.show()


async def _names(page: Page) -> Names:
    stores = await page.ask(page.client.datastores()) or []
    keys = await page.ask(page.client.keys()) or []
    return Names({str(store.id): store.name for store in stores}, {str(key.id): key.name for key in keys})
