"""
One row, whole.
"""

from __future__ import annotations

from typing import Any

from nicegui import ui

from fustor_client.models import TableInfo
from fustor_fusion.console.names import visible
from fustor_fusion.console.tables_cells import WHOLE, cell, type_name, whole
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.copyable import copy_text
from fustor_web_ui.dialogs import make_dialog
from fustor_web_ui.formats import count
from fustor_web_ui.page import Page


def show_row(page: Page, info: TableInfo, row: dict[str, Any], column: str | None) -> None:
    """
    Show a row, or one value of it.

    Args:
        page: Where.
        info: Its table.
        row: The row.
        column: The only column to show; None = all.
    """
    columns: dict[str, Any] = {**dict.fromkeys(row), **(info.columns or {})}
    names = list(columns) if column is None else [column]
    title = page.t("Row {name}", name=row_name(info, row)) if info.key else page.t("Row")
    dialog, card = make_dialog(page, title, classes="row-dialog")
    with card:
        with (
            ui.element("div").classes("row-values-box").props(f'tabindex=0 role=group aria-label="{page.t("Values")}"'),
            ui.element("dl").classes("row-values"),
        ):
            for name in names:
                with ui.element("dt"):
                    ui.label(visible(name)).classes("row-column")
                    if kind := type_name(columns.get(name)):
                        ui.label(kind).classes("row-type")
                with ui.element("dd"):
                    _value(page, row, name, columns.get(name))
        with ui.row().classes("console-actions"):
            if column is not None:
                text = whole(row.get(column), columns.get(column))
                action(page.t("Copy"), Kind.PLAIN, lambda: copy_text(page, text), icon="content_copy")
            action(page.t("Close"), Kind.PLAIN, dialog.close).props("autofocus")
    dialog.on("hide", dialog.delete)
    dialog.open()


def row_name(info: TableInfo, row: dict[str, Any]) -> str:
    """
    Return what a row is called: the values of its key.
    """
    values = [str(row.get(name)) for name in info.key or ()]
    return visible(", ".join(values)[:100])


def _value(page: Page, row: dict[str, Any], name: str, schema: Any) -> None:
    if name not in row or row[name] is None:
        ui.label("NULL").classes("cell-null")
    elif row[name] == "":
        ui.label(page.t("an empty text")).classes("cell-null")
    else:
        text = whole(row[name], schema)
        ui.label(text[:WHOLE]).classes("console-code")
        if len(text) > WHOLE:
            said = page.t(
                "These are the first {shown} of {all} characters. An export has all of them.",
                shown=count(WHOLE),
                all=count(len(text)),
            )
            ui.label(said).classes("row-type")


def row_title(info: TableInfo, row: dict[str, Any]) -> str:
    """
    Return what a row is called with the names of its key's columns: "id 1".
    """
    columns = info.columns or {}
    return ", ".join(f"{visible(name)} {cell(row.get(name), columns.get(name)).text}" for name in info.key or ())
