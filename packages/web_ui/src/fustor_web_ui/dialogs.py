"""
Dialogs: what stands above the page until it is answered or closed.
"""

from __future__ import annotations

from nicegui import ui

from fustor_web_ui.page import Page


def make_dialog(
    page: Page, title: str, *, must_answer: bool = False, classes: str = "", has_heading: bool = True
) -> tuple[ui.dialog, ui.card]:
    """
    Make a dialog, and the card that its content goes into. Who hears the page hears its title.

    Args:
        page: Above which.
        title: In the person's language.
        must_answer: Whether it stays when somebody clicks beside it.
        classes: More classes of the card.
        has_heading: Whether the title stands on top; if not, the content says it.
    """
    with page.top:
        dialog = ui.dialog().props("persistent" if must_answer else "")
    dialog.props["aria-label"] = title
    with dialog:
        card = ui.card().classes(f"console-dialog {classes}")
    if has_heading:
        with card:
            ui.label(title).props('role=heading aria-level="2"').classes("console-subtitle")
    return dialog, card
