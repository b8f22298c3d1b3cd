"""
Copying a text that somebody needs elsewhere; and a text that is to be run there, with a button for that.
"""

from __future__ import annotations

from nicegui import ui

from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page


def copy_text(page: Page, text: str) -> None:
    """
    Copy a text, and say so.
    """
    ui.clipboard.write(text)
    ui.notify(page.t("Copied."), type="positive")


def copyable(page: Page, text: str, describes: str) -> None:
    """
    Show a text as it is, and a button that copies it.

    Args:
        page: Where.
        text: The text: SQL, a command.
        describes: What it is, in the person's language, for who can't see it.
    """
    with ui.element("div").classes("console-copyable"):
        ui.label(text).classes("console-code").props(f'tabindex=0 role=region aria-label="{page.t("Text to copy")}"')
        action(page.t("Copy"), Kind.CHANGE, lambda: copy_text(page, text), icon="content_copy", describes=describes)
