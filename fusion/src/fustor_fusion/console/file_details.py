"""
All that is known of one entry.
"""

from __future__ import annotations

import stat

from nicegui import ui

from fustor_client.models import FileEntry
from fustor_fusion.console.names import visible
from fustor_fusion.console.place import ICONS, Place
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.dialogs import make_dialog
from fustor_web_ui.formats import ago, count, instant, shown, size
from fustor_web_ui.page import Page

TYPES = {"file": "file", "dir": "folder", "symlink": "symbolic link", "other": "something else"}


async def show_details(page: Page, place: Place, path: str) -> None:
    """
    Show an entry in a dialog, as it is now.
    """
    t = page.t
    page.console.sessions.touch(page.session)
    entry = await page.ask(page.client.entry(place.asked(path), tree=place.tree.tree))
    if entry is None:
        return
    lines = _lines(page, entry)
    if entry.type == "dir":
        stats = await page.ask(page.client.stats(place.asked(path), tree=place.tree.tree))
        if stats is not None:
            lines += [
                (t("Everything below"), size(stats.bytes)),
                (t("Files below"), count(stats.files)),
                (t("Folders below"), count(stats.dirs)),
            ]
    dialog, card = make_dialog(page, visible(entry.name) or "/", has_heading=False)
    with card:
        with ui.element("div").classes("flow-head"):
            ui.icon(ICONS.get(entry.type, "help")).classes("flow-icon").props("aria-hidden=true")
            ui.label(visible(entry.name)).props('role=heading aria-level="2"').classes("console-subtitle flow-name")
        with ui.element("dl").classes("details"):
            for label, value in lines:
                with ui.element("dt"):
                    ui.label(label)
                with ui.element("dd"):
                    ui.label(value)
        with ui.element("div").classes("console-actions"):
            action(t("Close"), Kind.PLAIN, dialog.close).props("autofocus")
    dialog.on("hide", dialog.delete)
    dialog.open()


def _lines(page: Page, entry: FileEntry) -> list[tuple[str, str]]:
    t = page.t
    lines = [
        (t("Path"), visible(entry.path) or "/"),
        (t("Kind"), t(TYPES.get(entry.type, entry.type))),
        (t("Sync"), visible(entry.tree)),
    ]
    if entry.type == "file":
        exact = t("{number} bytes", number=count(entry.size))
        lines.append((t("Size"), exact if entry.size < 1024 else f"{size(entry.size)} ({exact})"))
    if entry.target is not None:
        lines.append((t("Leads to"), visible(entry.target)))
    if entry.mtime:
        lines.append((t("Modified"), _time(page, entry.mtime)))
    if entry.ctime:
        lines.append((t("Status changed"), _time(page, entry.ctime)))
    if entry.mode:
        lines.append((t("Rights"), f"{stat.filemode(entry.mode)} ({entry.mode & 0o7777:04o})"))
        lines.append((t("Owner"), t("user {uid}, group {gid}", uid=entry.uid, gid=entry.gid)))
    if entry.inode:
        lines.append((t("Inode"), str(entry.inode)))
    return lines


def _time(page: Page, nanoseconds: int) -> str:
    text = instant(nanoseconds)
    if text is None:
        return page.t("{number} ns since 1970", number=nanoseconds)
    return f"{shown(page, text)} ({ago(page, text)})"
