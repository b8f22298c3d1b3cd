"""
The form that asks what a snapshot is to read again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fustor_client.models import SyncState
from fustor_web_ui.actions import Kind
from fustor_web_ui.forms import Form
from fustor_web_ui.page import Page


def ask_for_snapshot(page: Page, sync: SyncState, refresh: Callable[[], Awaitable[None]]) -> None:
    """
    Ask for a snapshot of everything, of some tables, or of some rows.

    Args:
        page: Where.
        sync: Of which sync.
        refresh: Shows all anew once it has begun.
    """
    t = page.t
    form = Form(page, t("Snapshot of {name}", name=sync.id), t("Take the snapshot"), Kind.CHANGE)
    form.note(
        t("Everything is read from the source once more, while live changes go on. Leave both fields empty for all.")
    )
    form.text("tables", t("Only these tables, as schema.table, with commas between"))
    form.text("where", t("Only rows of which this holds (SQL; for files the path of a directory)"))

    async def take() -> bool:
        tables = [name.strip() for name in form.said("tables").split(",") if name.strip()]
        begun = page.client.take_snapshot(sync.id, tables=tables or None, where=form.said("where") or None)
        if not await page.act(begun, "The snapshot of {name} has begun.", name=sync.id):
            return False
        await refresh()
        return True

    form.open(take)
