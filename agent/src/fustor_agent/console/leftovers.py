"""
What drivers may have left at sources that were deleted, and what a person can do about it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from nicegui import ui

from fustor_client.agent_models import Cleanup
from fustor_web_ui.actions import Kind, action, ask_twice
from fustor_web_ui.page import Page


def show_leftovers(page: Page, cleanups: Sequence[Cleanup], refresh: Callable[[], Awaitable[None]]) -> None:
    """
    Show what is left to do at sources that were deleted; nothing when there is nothing.

    Args:
        page: Where.
        cleanups: What is left.
        refresh: Shows all anew.
    """
    if not cleanups:
        return
    t = page.t
    with ui.element("section").classes("console-card leftovers"):
        ui.label(t("Left at sources that were deleted")).props('role=heading aria-level="2"').classes(
            "console-subtitle"
        )
        ui.label(
            t("A driver may have made something there (a replication slot, say) that keeps the source's log growing.")
        ).classes("console-lead")
        for cleanup in cleanups:
            _one(page, cleanup, refresh)


def _one(page: Page, cleanup: Cleanup, refresh: Callable[[], Awaitable[None]]) -> None:
    t = page.t

    async def retry() -> None:
        outcome = await page.want(page.client.retry_cleanup(cleanup.id))
        if outcome is not None:
            said = "Nothing is left there." if outcome.done else "It could not be removed; the reason is below."
            ui.notify(t(said), type="positive" if outcome.done else "warning")
        await refresh()

    async def forget() -> None:
        await page.act(page.client.forget_cleanup(cleanup.id), "It is left there.")
        await refresh()

    with ui.element("div").classes("leftover"):
        with ui.element("div"):
            ui.label(f"{cleanup.source} ({cleanup.driver}, {cleanup.uri})").classes("sync-name")
            for text in (cleanup.reason, cleanup.hint):
                if text:
                    ui.label(page.told(text))
        with ui.element("div").classes("cell-actions"):
            action(
                t("Remove it there"), Kind.CHANGE, retry, describes=t("Remove what {name} left", name=cleanup.source)
            )
            action(
                t("Leave it"),
                Kind.DELETE,
                lambda: ask_twice(
                    page,
                    t("Leave at {name} what is there?", name=cleanup.source),
                    t("Fustor forgets about it. Whoever looks after the source has to remove it."),
                    t("Leave it"),
                    forget,
                ),
                describes=t("Leave what {name} left", name=cleanup.source),
            )
