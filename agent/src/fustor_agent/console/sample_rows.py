"""
Rows shown as they are: a small table that scrolls by itself. Values are text, whatever is in them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from nicegui import ui

from fustor_web_ui.page import Page

_MOST_CHARACTERS: Final = 160
_MOST_FIELDS: Final = 60


def text_of(value: Any) -> str:
    """
    Return a value as people read it, cut where it is long.
    """
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool) or value is None:
        text = {True: "true", False: "false", None: "null"}[value]
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def fields_shown(page: Page, fields: Sequence[str]) -> Sequence[str]:
    """
    Return the fields that are shown of many, and say that there are more.
    """
    if len(fields) > _MOST_FIELDS:
        ui.label(
            page.t("The first {shown} of {number} fields are shown.", shown=_MOST_FIELDS, number=len(fields))
        ).classes("wizard-hint")
    return fields[:_MOST_FIELDS]


def heading_cell(page: Page, field: str, *, is_key: bool) -> None:
    """
    Show the heading of a column.
    """
    with ui.element("th").props("scope=col"):
        if is_key:
            ui.icon("key").classes("is-key").props(f'role=img aria-label="{page.t("key")}"')
        ui.label(field).style("display: inline")


def value_cell(value: Any, *, is_there: bool = True, classes: str = "") -> None:
    """
    Show one value.
    """
    cell = ui.element("td").classes(classes)
    if not is_there:
        return
    if value is None:
        cell.classes("is-null")
    with cell:
        ui.label(text_of(value))


def sample_rows(
    page: Page, caption: str, fields: Sequence[str], key: Sequence[str], rows: Sequence[Mapping[str, Any]]
) -> None:
    """
    Show rows.

    Args:
        page: Where.
        caption: What they are, in the person's language.
        fields: The fields, in their order.
        key: Those that identify a row.
        rows: The rows.
    """
    shown = fields_shown(page, fields)
    with ui.element("div").classes("sample-box").props("tabindex=0 role=region") as box:
        box.props["aria-label"] = caption
        with ui.element("table").classes("sample"):
            with ui.element("thead"), ui.element("tr"):
                for field in shown:
                    heading_cell(page, field, is_key=field in key)
            with ui.element("tbody"):
                for row in rows:
                    with ui.element("tr"):
                        for field in shown:
                            value_cell(row.get(field), is_there=field in row)
