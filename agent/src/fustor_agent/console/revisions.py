"""
The pages of the configuration's revisions: when what was changed, what differs, and the way back.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from nicegui import ui

from fustor_agent.console.changes import change
from fustor_agent.console.entry_fields import written
from fustor_agent.console.words import of_revision
from fustor_client.agent_models import ChangedKey, Revision, RevisionDifference
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.dialogs import make_dialog
from fustor_web_ui.formats import ago, shown
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.states import Mood, state
from fustor_web_ui.tables import Column, PagedTable, slices

_KEPT: Final = 1000
_LINES: Final = 2000
_LONGEST: Final = 300
_BY_HAND: Final = ("edited by hand", "found at start")
_HEADS: Final = 2
_SIGNS: Final = {"+": "is-added", "-": "is-removed", "@": "is-place"}
_CHANGES: Final = {"added": "added", "removed": "removed", "changed": "changed"}


@console_page("/revisions", "Revisions")
async def revisions(page: Page) -> None:
    """
    List the revisions, newest first.
    """
    t = page.t
    ui.label(
        t(
            "Every change of the configuration is kept here. Rolling back to one makes the file say again what it said after that change."
        )
    ).classes("console-lead")
    newest: list[int] = []
    in_force: list[int | None] = []

    async def load() -> list[Revision]:
        rows: list[Revision] = await page.client.revisions(limit=_KEPT)
        newest[:] = [rows[0].id] if rows else []
        in_force[:] = [(await page.client.overview()).configuration.applied_revision]
        return rows

    def actions(revision: Revision) -> None:
        with ui.element("div").classes("cell-actions"):
            action(
                t("What has changed"),
                Kind.PLAIN,
                lambda: page.go(f"/revisions/{revision.id}"),
                describes=t("What revision {number} has changed", number=revision.id),
            )
            if revision.id not in newest:
                action(
                    t("Roll back"),
                    Kind.STOP,
                    lambda: _ask(page, revision.id, newest[0]),
                    describes=t("Roll back to revision {number}", number=revision.id),
                )

    def number(revision: Revision) -> None:
        with ui.element("div").classes("cell-states"):
            ui.label(str(revision.id))
            if revision.id in in_force:
                state(t("in force"), Mood.GOOD)
            elif revision.id in newest:
                state(t("newest"), Mood.WAIT)

    table: PagedTable[Revision] = PagedTable(
        page,
        t("Revisions, newest first"),
        [
            Column(t("Revision"), fill=number, shape="is-short"),
            Column(t("When"), lambda one: shown(page, _time(one.ts)), shape="is-short"),
            Column(
                t("Origin"),
                lambda one: t("Configuration file") if one.reason.startswith(_BY_HAND) else t("Console or API"),
                shape="is-short",
            ),
            Column(t("What"), lambda one: of_revision(page, one.reason), shape="is-long is-what"),
            Column("", fill=actions, shape="is-doing"),
        ],
        slices(page, load),
        empty=t("Nothing was configured yet. Each change will be listed here."),
    )
    await table.show()


@console_page("/revisions/{number}", "What has changed")
async def difference(page: Page, number: int, against: int | None = None) -> None:
    """
    Show what differs between a revision and the one before it, or another.
    """
    t = page.t
    found: RevisionDifference | None = await page.ask(page.client.difference(number, against=against))
    newest: list[Revision] | None = await page.ask(page.client.revisions(limit=1))
    if found is None or newest is None:
        ui.label(t("This revision can't be shown.")).classes("console-empty")
        return
    before, after = found.before, found.after
    ui.label(
        t("From revision {before} to revision {after}", before=before.id, after=after.id)
        if before is not None
        else t("Revision {after}, the first one that is kept", after=after.id)
    ).props('role=heading aria-level="2"').classes("console-subtitle")
    ui.label(
        t(
            "{what} · {time} ({ago})",
            what=of_revision(page, after.reason),
            time=shown(page, _time(after.ts)),
            ago=ago(page, _time(after.ts)),
        )
    ).classes("console-lead")
    with ui.element("div").classes("console-bar"):
        action(t("All revisions"), Kind.PLAIN, lambda: page.go("/revisions"), icon="chevron_left")
        for revision, label in (
            (after, "Roll back to revision {number}, with this change"),
            (before, "Roll back to revision {number}, without this change"),
        ):
            if revision is not None and revision.id != newest[0].id:
                _roll_back_button(page, t(label, number=revision.id), revision.id, newest[0].id)
    for name in found.unreadable:
        ui.label(t("{name} is no configuration that can be read.", name=_named(page, name))).classes("trouble")
    if not found.changes and not found.diff:
        ui.label(t("Only comments or the layout differ.")).classes("console-empty")
        return
    _keys(page, found.changes)
    _lines(page, found.diff)


def _roll_back_button(page: Page, label: str, number: int, newest: int) -> None:
    action(label, Kind.STOP, lambda: _ask(page, number, newest), icon="settings_backup_restore")


def _named(page: Page, name: str) -> str:
    """
    Say which of the two states that are compared the agent means by a name.
    """
    _, _, number = name.partition("revision ")
    return page.t("revision {number}", number=number) if number else page.t("nothing")


def _keys(page: Page, changes: list[ChangedKey]) -> None:
    t = page.t

    async def load() -> list[ChangedKey]:
        return changes

    table: PagedTable[ChangedKey] = PagedTable(
        page,
        t("Settings that differ"),
        [
            Column(t("Setting"), lambda one: one.key, shape="is-long"),
            Column(t("Change"), lambda one: t(_CHANGES.get(one.change, one.change))),
            Column(t("Before"), fill=lambda one: _value(one.before), shape="is-long"),
            Column(t("After"), fill=lambda one: _value(one.after), shape="is-long"),
        ],
        slices(page, load),
        empty=t("Only comments or the layout differ."),
    )
    ui.timer(0.0, table.show, once=True)


def _lines(page: Page, diff: str) -> None:
    lines = diff.splitlines()
    ui.label(page.t("Line by line")).props('role=heading aria-level="2"').classes("console-subtitle is-next")
    with ui.element("div").classes("diff").props("tabindex=0 role=region") as box:
        box.props["aria-label"] = page.t("Line by line")
        for at, line in enumerate(lines[:_LINES]):
            if at < _HEADS:
                sign, _, name = line.partition(" ")
                ui.label(f"{sign} {_named(page, name)}").classes("diff-line is-head")
            else:
                ui.label(line or " ").classes(f"diff-line {_SIGNS.get(line[:1], '')}")
    if len(lines) > _LINES:
        ui.label(page.t("and {number} more", number=len(lines) - _LINES))


def _ask(page: Page, number: int, newest: int) -> None:
    t = page.t
    dialog, card = make_dialog(page, t("Roll back to revision {number}?", number=number), must_answer=True)
    with card:
        ui.label(t("The file then says what it said there. That is a new revision, so it can be undone the same way."))
        ui.label(t("The syncs go on as they are until the changes are applied."))

        async def roll_back() -> None:
            dialog.close()
            done = await change(page, page.client.roll_back(number, if_revision=newest))
            if done is not None:
                page.say_there(
                    t("Rolled back to revision {number}. It takes effect when the changes are applied.", number=number)
                )
                page.go("/revisions")

        with ui.row().classes("console-actions"):
            action(t("Cancel"), Kind.PLAIN, dialog.close)
            action(t("Roll back"), Kind.STOP, roll_back)
    dialog.open()


def _time(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat()


def _value(value: Any) -> None:
    if value is None:
        ui.label("—")
        return
    text = value if isinstance(value, str) else written(value).rstrip()
    ui.label(text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …").classes("console-code")
