"""
Rows of a table as a file. What comes from the service is handed on piece by piece.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

from nicegui import app, ui
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse

from fustor_client.models import TableInfo
from fustor_core.errors import FustorError
from fustor_web_ui import page as frame
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.dialogs import make_dialog
from fustor_web_ui.page import Page
from fustor_web_ui.preferences import preferences_of

Condition = tuple[str, str, str]
_PATH: Final = "/table-export"
_FORMS: Final[dict[str, tuple[Literal["csv", "jsonl"], bool, str, str]]] = {
    "sheet": (
        "csv",
        True,
        "CSV for spreadsheets",
        "Texts that a spreadsheet would run as a formula get an apostrophe before them.",
    ),
    "csv": ("csv", False, "CSV, exact", 'Every value as it is. NULL is an empty cell, an empty text is "".'),
    "jsonl": ("jsonl", False, "JSON Lines", "One JSON object a line, every value as it is."),
}


def offer_export(
    page: Page, info: TableInfo, where: Sequence[Condition], order: tuple[str, str] | None, *, whole: bool
) -> None:
    """
    Offer the formats.

    Args:
        page: Where.
        info: The table.
        where: Which rows.
        order: In which order.
        whole: Whether these are all rows of the table.
    """
    t = page.t
    dialog, card = make_dialog(page, t("Export"))
    with card:
        ui.label(t("All rows of the table." if whole else "All rows that the filters let through.")).classes(
            "console-lead"
        )
        for form, (_, _, label, note) in _FORMS.items():
            asked = {"task": info.task_id, "schema": info.schema, "table": info.table, "form": form}
            asked |= {"where": json.dumps(where)} if where else {}
            asked |= {"order": json.dumps(order)} if order else {}
            with ui.element("a").props("download").classes("export-form") as link:
                # NiceGUI puts the console's path before the addresses of its own links alone.
                link.props["href"] = f"{page.console.path}{_PATH}?{urlencode(asked)}"
                ui.icon("download").props("aria-hidden=true")
                with ui.element("div"):
                    ui.label(t(label)).classes("export-label")
                    ui.label(t(note)).classes("row-type")
        with ui.row().classes("console-actions"):
            action(t("Close"), Kind.PLAIN, dialog.close)
    dialog.on("hide", dialog.delete)
    dialog.open()


@app.get(_PATH, include_in_schema=False)
async def export(
    request: Request, task: str, schema: str, table: str, form: str, where: str = "[]", order: str = "null"
) -> Response:
    """
    Send a file.
    """
    console = frame.running
    session = None if console is None else console.sessions.find(request.cookies.get(console.cookie))
    if console is None or session is None:
        return RedirectResponse("" if console is None else f"{console.path}/sign-in", 303)
    console.sessions.touch(session)
    kind, safe, *_ = _FORMS.get(form, _FORMS["csv"])
    try:
        params: dict[str, Any] = {"where": [tuple(one) for one in json.loads(where)], "safe": safe}
        chosen = json.loads(order)
        params |= {"order": tuple(chosen)} if chosen else {}
    except (ValueError, TypeError):
        return PlainTextResponse("The address is not whole.", 400)
    pieces = session.client.export_rows(task, schema, table, kind, **params)
    try:
        first = await anext(pieces, b"")
    except FustorError as exc:
        language = preferences_of(request).language
        told = [console.texts.pass_on(language, text) for text in (exc.message, exc.hint)]
        return PlainTextResponse("\n".join(told), 400)

    async def all_pieces() -> AsyncIterator[bytes]:
        async with aclosing(pieces):
            yield first
            async for piece in pieces:
                yield piece

    media = "text/csv; charset=utf-8" if kind == "csv" else "application/x-ndjson"
    name = quote(f"{table}.{'csv' if kind == 'csv' else 'ndjson'}", safe="")
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}", "Cache-Control": "no-store"}
    return StreamingResponse(all_pieces(), media_type=media, headers=headers)
