"""
A time of the services that breaks in no other place than between day and hour.
"""

from __future__ import annotations

from nicegui import ui

from fustor_web_ui.formats import moment, shown
from fustor_web_ui.page import Page


def time_label(page: Page, text: str | None, *, never: str = "never") -> None:
    """
    Show a time, in UTC.

    Args:
        never: English: what to say where there is none.
    """
    said = shown(page, text, never=never)
    if moment(text) is None:
        ui.label(said)
        return
    with ui.element("div").classes("time-parts"):
        for part in said.split(" ", 1):
            ui.label(part)
