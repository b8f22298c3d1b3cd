"""
A secret that is shown once.
"""

from __future__ import annotations

from nicegui import ui

from fustor_web_ui.actions import Kind, action
from fustor_web_ui.copyable import copy_text
from fustor_web_ui.dialogs import make_dialog
from fustor_web_ui.page import Page


def show_once(page: Page, title: str, secret: str) -> None:
    """
    Show a secret that nobody will be shown again, with a button that copies it.

    Args:
        page: Where.
        title: What it is, in the person's language.
        secret: The secret.
    """
    dialog, card = make_dialog(page, title, must_answer=True)
    with card:
        ui.label(page.t("Copy it now: it is shown this once, and kept nowhere."))
        ui.label(secret).classes("console-secret").props("data-secret")

        def close() -> None:
            dialog.close()
            dialog.clear()

        with ui.row().classes("console-actions"):
            action(page.t("Copy"), Kind.CHANGE, lambda: copy_text(page, secret), icon="content_copy")
            action(page.t("Done"), Kind.PLAIN, close)
    dialog.open()
