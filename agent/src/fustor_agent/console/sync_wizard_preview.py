"""
Rows before and after the transforms, beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from fustor_agent.console.code_in_text import with_code
from fustor_agent.console.sample_rows import fields_shown, heading_cell, value_cell
from fustor_agent.console.schema_fields import sentence
from fustor_client.agent_models import PreviewRow, PreviewTable
from fustor_web_ui.page import Page


def show_preview(page: Page, table: PreviewTable) -> None:
    """
    Show what becomes of the rows of a table.
    """
    t = page.t
    if table.error is not None:
        with ui.element("div").classes("console-note is-bad").props("role=alert"):
            ui.label(page.told(str(table.error.get("message") or "")))
            if hint := str(table.error.get("hint") or ""):
                ui.label(page.told(hint))
        return
    becomes = table.becomes or {"key": table.key, "fields": table.fields}
    sent = sum(row.outcome == "sent" for row in table.rows)
    filtered = sum(row.outcome == "filtered" for row in table.rows)
    ui.label(_sum(page, sent, filtered, len(table.rows) - sent - filtered)).classes("wizard-hint preview-sum")
    with ui.element("div").classes("wizard-sides"):
        with ui.element("div"):
            ui.label(t("Before the transforms")).classes("wizard-side")
            _side(page, t("Before the transforms"), table.fields, table.key, table.rows, is_after=False)
        with ui.element("div"):
            ui.label(t("After the transforms")).classes("wizard-side")
            _side(page, t("After the transforms"), becomes["fields"], becomes["key"], table.rows, is_after=True)
    for note in table.notes:
        with_code(sentence(page.told(note))).classes("wizard-hint")


def _sum(page: Page, sent: int, filtered: int, refused: int) -> str:
    """
    Say what becomes of how many rows.
    """
    t, total = page.t, sent + filtered + refused
    if not filtered and not refused:
        return t("All of these {total} rows would be sent.", total=total)
    if not refused:
        return t(
            "Of these {total} rows, {sent} would be sent and {filtered} filtered out.",
            total=total,
            sent=sent,
            filtered=filtered,
        )
    return t(
        "Of these {total} rows, {sent} would be sent, {filtered} filtered out and {refused} refused.",
        total=total,
        sent=sent,
        filtered=filtered,
        refused=refused,
    )


def _side(
    page: Page, caption: str, fields: Sequence[str], key: Sequence[str], rows: Sequence[PreviewRow], *, is_after: bool
) -> None:
    shown = fields_shown(page, fields)
    with ui.element("div").classes("sample-box").props("tabindex=0 role=region") as box:
        box.props["aria-label"] = caption
        with ui.element("table").classes("sample"):
            with ui.element("thead"), ui.element("tr"):
                for field in shown:
                    heading_cell(page, field, is_key=field in key)
            with ui.element("tbody"):
                for row in rows:
                    _row(page, shown, row, is_after=is_after)


def _row(page: Page, fields: Sequence[str], row: PreviewRow, *, is_after: bool) -> None:
    line = ui.element("tr").classes("is-out" if row.outcome != "sent" else "")
    with line:
        if is_after and row.after is None:
            said = (
                page.t("filtered out")
                if row.outcome == "filtered"
                else page.t("refused: {reason}", reason=page.told(row.reason))
            )
            with ui.element("td").classes("is-said").props(f"colspan={max(1, len(fields))}"):
                ui.label(said)
            return
        values: Mapping[str, Any] = (row.after or {}) if is_after else row.before
        for field in fields:
            is_new = is_after and (field not in row.before or row.before[field] != values.get(field))
            value_cell(values.get(field), is_there=field in values, classes="is-changed" if is_new else "")
