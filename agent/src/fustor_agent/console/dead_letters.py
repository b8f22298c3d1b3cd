"""
The pages of the dead letters: what consumers have refused for good, to be looked at, sent again or dropped.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final

from nicegui import ui

from fustor_agent.console.schema_fields import sentence
from fustor_client.agent_models import Letter, Letters
from fustor_core.errors import FustorError, StateConflictError, Unauthorized
from fustor_web_ui.actions import Kind, action, ask_twice
from fustor_web_ui.formats import count, listed, shown
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.tables import Column, PagedTable, Part

_ROWS: Final = 50
_AT_ONCE: Final = 1000
_ALL: Final = ""
_HIDDEN: Final = "***"
_EVENTS: Final = {"insert": "insert", "update": "update", "delete": "delete"}


@console_page("/dead-letters", "Dead letters")
async def dead_letters(page: Page, sync: str | None = None) -> None:
    """
    List the dead letters, oldest first.
    """
    await _DeadLetters(page, sync or _ALL).show()


class _DeadLetters:
    def __init__(self, page: Page, sync: str) -> None:
        self._page = page
        self._wanted = {"sync": sync, "table": "", "code": ""}
        self._counts: dict[str, int] = {}
        t = page.t
        ui.label(
            t(
                "These rows could not be transformed, or the consumer refused them; they were set aside and the sync went on. Fix the cause, then replay them."
            )
        ).classes("console-lead")
        self._full = ui.label(
            t("There is no more room for dead letters: syncs stop instead of dropping rows.")
        ).classes("trouble")
        with ui.element("div").classes("console-bar"):
            self._sync = ui.select(
                {_ALL: t("all syncs")} | ({sync: sync} if sync else {}),
                label=t("Sync"),
                value=sync,
                on_change=lambda event: self._narrow("sync", event.value),
            )
            self._sync.props("outlined dense").classes("letters-sync")
            for name, label in (("table", "Table"), ("code", "Code")):
                ui.input(t(label), on_change=lambda event, name=name: self._narrow(name, event.value)).props(
                    "outlined dense debounce=400 type=search"
                )
        with ui.element("div").classes("console-bar"):
            self._replay_all = action(t("Replay all of these"), Kind.START, self._do_replay_all, icon="replay")
            self._drop_all = action(t("Drop all of these"), Kind.DELETE, self._ask_drop_all, icon="delete_sweep")
            self._choose = ui.label(t("Choose a sync to replay or drop all of its letters.")).classes("console-lead")
        self._table: PagedTable[Letter] = PagedTable(
            page,
            t("Dead letters, oldest first"),
            [
                Column(t("When"), lambda one: shown(page, _time(one.ts)), shape="is-short"),
                Column(t("Sync"), lambda one: one.sync),
                Column(t("Table"), _table_of, shape="is-long is-table"),
                Column(t("Change"), lambda one: t(_EVENTS.get(one.event_type, one.event_type))),
                Column(t("Why"), fill=lambda one: _why(page, one), shape="is-long is-why"),
                Column("", fill=self._actions, shape="is-doing"),
            ],
            self._load,
            empty=t(
                "There are no dead letters: no consumer has refused a row for good, or all were replayed or dropped."
            ),
        )

    async def show(self) -> None:
        """
        Show the list.
        """
        await self._table.show()

    def _filter(self) -> dict[str, str]:
        return {name: value for name, value in self._wanted.items() if value}

    async def _load(self, cursor: str | None) -> Part | None:
        found: Letters | None = await self._page.ask(
            self._page.client.letters(after=int(cursor or 0), limit=_ROWS, **self._filter())
        )
        if found is None:
            return None
        self._full.visible = found.full
        if found.counts != self._counts:
            self._counts = found.counts
            all_of_them = self._page.t("all syncs")
            names = {name: f"{name} ({count(rows)})" for name, rows in found.counts.items()}
            now = self._wanted["sync"]
            self._sync.set_options({_ALL: all_of_them, **({now: now} if now else {}), **names}, value=now)
        has_sync = bool(self._wanted["sync"])
        self._replay_all.set_enabled(has_sync and bool(found.rows))
        self._drop_all.set_enabled(has_sync and bool(found.rows))
        self._choose.visible = not has_sync and bool(found.rows)
        return Part(found.rows, None if found.next is None else str(found.next))

    async def _narrow(self, name: str, value: str | None) -> None:
        given = (value or "").strip()
        if self._wanted[name] != given:
            self._wanted[name] = given
            await self._table.restart()

    def _actions(self, letter: Letter) -> None:
        page, t = self._page, self._page.t
        with ui.element("div").classes("cell-actions"):
            action(
                t("View"),
                Kind.PLAIN,
                lambda: page.go(f"/dead-letters/{letter.id}"),
                describes=t("View letter {number}", number=letter.id),
            )
            if letter.replayable:
                action(
                    t("Replay"),
                    Kind.START,
                    lambda: self._replay(letter),
                    describes=t("Replay letter {number}", number=letter.id),
                )
            action(
                t("Drop"),
                Kind.DELETE,
                lambda: ask_drop(page, letter, self.show),
                describes=t("Drop letter {number}", number=letter.id),
            )

    async def _replay(self, letter: Letter) -> None:
        await replay(self._page, letter, self.show)

    async def _do_replay_all(self, *, force: bool = False) -> None:
        page, t = self._page, self._page.t
        done = await page.want(page.client.replay_all(limit=_AT_ONCE, force=force, **self._filter()))
        if done is not None:
            error = done.error or {}
            if done.failed is None:
                ui.notify(t("The consumer has taken {number} letters.", number=len(done.replayed)), type="positive")
            elif (error.get("context") or {}).get("force"):
                ask_force(page, str(error.get("message", "")), lambda: self._do_replay_all(force=True))
            else:
                why, hint = page.told(error.get("message", "")), page.told(error.get("hint", ""))
                ui.notify(
                    t(
                        "{number} letters were taken, then one was refused: {reason}",
                        number=len(done.replayed),
                        reason=why,
                    )
                    + (f"\n{hint}" if hint else ""),
                    type="warning",
                    multi_line=True,
                    timeout=0,
                    close_button=t("Close"),
                )
        await self._table.restart()

    def _ask_drop_all(self) -> None:
        page, t = self._page, self._page.t

        async def drop() -> None:
            gone = await page.want(page.client.delete_letters(**self._filter()))
            if gone is not None:
                ui.notify(t("{number} letters are dropped.", number=int(gone)), type="positive")
            await self._table.restart()

        ask_twice(
            page,
            t("Drop all of these dead letters of {name}?", name=self._wanted["sync"]),
            t("Their rows are gone for good. A snapshot can bring the source's present rows, not these changes."),
            t("Drop"),
            drop,
        )


@console_page("/dead-letters/{number}", "Dead letter")
async def dead_letter(page: Page, number: int) -> None:
    """
    Show one dead letter with its rows.
    """
    t = page.t
    letter: Letter | None = await page.ask(page.client.letter(number))
    if letter is None:
        ui.label(t("This letter is not there. It may have been replayed or dropped.")).classes("console-empty")
        return

    async def back() -> None:
        page.go("/dead-letters", sync=letter.sync)

    with ui.element("div").classes("console-bar"):
        action(t("All dead letters"), Kind.PLAIN, back, icon="chevron_left")
        if letter.replayable:
            action(t("Replay"), Kind.START, lambda: replay(page, letter, back), icon="replay")
        action(t("Drop"), Kind.DELETE, lambda: ask_drop(page, letter, back), icon="delete")
    with ui.element("div").classes("trouble"):
        ui.label(sentence(page.told(letter.reason))).classes("trouble-reason")
        if letter.hint:
            ui.label(t("What to do: {hint}", hint=page.told(letter.hint)))
        if letter.code:
            ui.label(t("Code: {code}", code=letter.code))
        if not letter.replayable:
            ui.label(
                t("It can't be replayed: it holds values that can't travel. Take a snapshot of its table instead.")
            )
    event = letter.event or {}
    fields = [str(name) for name in event.get("fields", [])]
    keys = [str(name) for name in event.get("key") or []]
    with ui.element("dl").classes("figures"):
        for label, value in (
            ("Sync", letter.sync),
            ("Table", _table_of(letter)),
            ("Change", t(_EVENTS.get(letter.event_type, letter.event_type))),
            ("When", shown(page, _time(letter.ts))),
            ("Key", listed(page, keys) or "–"),
            ("Position", letter.position or "–"),
        ):
            with ui.element("div"):
                with ui.element("dt"):
                    ui.label(t(label))
                with ui.element("dd"):
                    ui.label(value)
    rows: list[list[Any]] = list(event.get("rows", []))
    if any(value == _HIDDEN for row in rows for value in row):
        ui.label(t("*** is what the transforms of the sync hide, or what they can't work on as they are now.")).classes(
            "console-lead"
        )

    async def load(cursor: str | None) -> Part:
        at = int(cursor or 0)
        row = rows[at] if at < len(rows) else []
        return Part(list(zip(fields, row, strict=False)), str(at + 1) if at + 1 < len(rows) else None)

    # A row on a page: rows are wide, and one looks at one.
    table: PagedTable[tuple[str, Any]] = PagedTable(
        page,
        t("Its rows as they would be sent, one on a page: {number} in all", number=count(len(rows))),
        [
            Column(t("Field"), lambda one: one[0], shape="is-long"),
            Column(t("Value"), lambda one: _value(one[1]), shape="is-long"),
        ],
        load,
        empty=t("It has no rows."),
    )
    await table.show()


async def replay(page: Page, letter: Letter, then: Callable[[], Awaitable[None]], *, force: bool = False) -> None:
    """
    Push a letter once more. A consumer that goes by arrival would take its old rows for new ones: then the person is asked.

    Args:
        page: Where.
        letter: Which.
        then: Called when the consumer has taken it.
        force: Whether the person has said yes.
    """
    page.console.sessions.touch(page.session)
    try:
        await page.client.replay(letter.id, force=force)
    except StateConflictError as exc:
        if not exc.context.get("force"):
            page.tell(exc)
            return
        ask_force(page, exc.message, lambda: replay(page, letter, then, force=True))
    except Unauthorized:
        page.sign_in_again()
    except FustorError as exc:
        page.tell(exc)
    else:
        ui.notify(page.t("The consumer has taken it."), type="positive")
        await then()


def ask_force(page: Page, why: str, do: Callable[[], Awaitable[None]]) -> None:
    """
    Ask whether letters are to be replayed although their rows may overwrite newer ones.
    """
    t = page.t
    ask_twice(
        page,
        t("Replay all the same?"),
        page.told_with(
            why, t("Do so only when the source has nothing newer for these keys; else take a snapshot of the table.")
        ),
        t("Replay"),
        do,
    )


def ask_drop(page: Page, letter: Letter, then: Callable[[], Awaitable[None]]) -> None:
    """
    Ask whether a letter is to be dropped, and do it.

    Args:
        page: Where.
        letter: Which.
        then: Called when it is gone.
    """
    t = page.t

    async def drop() -> None:
        if await page.act(page.client.delete_letter(letter.id), "It is dropped."):
            await then()

    ask_twice(
        page,
        t("Drop this dead letter of {name}?", name=letter.sync),
        t("Its rows are gone for good. A snapshot can bring the source's present rows, not these changes."),
        t("Drop"),
        drop,
    )


def _table_of(letter: Letter) -> str:
    return f"{letter.event_schema}.{letter.table}" if letter.event_schema else letter.table


def _why(page: Page, letter: Letter) -> None:
    ui.label(sentence(page.told(letter.reason)))
    if letter.hint:
        ui.label(sentence(page.told(letter.hint))).classes("cell-problem")
    if letter.code:
        ui.label(page.t("Code: {code}", code=letter.code)).classes("wizard-chip letter-code")


def _time(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).isoformat()


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
