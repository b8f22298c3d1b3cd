"""
One sync as a live picture: source, bus, pusher, and what flows between them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import quote

from nicegui import ui

from fustor_agent.console.lists import few
from fustor_agent.console.snapshot_form import ask_for_snapshot
from fustor_agent.console.words import ALL_ARRIVED, IN_TROUBLE, REASONS, TABLE_COUNTS, letters
from fustor_client.models import SnapshotInfo, SyncState
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.formats import count, listed, size, span, speed
from fustor_web_ui.healths import HEALTH
from fustor_web_ui.meters import Meter
from fustor_web_ui.page import Page, target
from fustor_web_ui.states import LiveState, Mood

_HOT, _WARM = 0.9, 0.6
_DISABLED: Final = {
    "syncs": "It is disabled, so it does not run.",
    "sources": "Its source is disabled, so it does not run.",
    "pushers": "Its pusher is disabled, so it does not run.",
}


class SyncCard:
    """
    The picture of one sync. It is made once, and then changed where it has to.

    Args:
        page: Where it stands.
        sync: As it is now.
        refresh: Shows all anew, after a button was pressed.
        leads_on: Whether it leads to the page of this sync alone.
    """

    def __init__(
        self, page: Page, sync: SyncState, refresh: Callable[[], Awaitable[None]], *, leads_on: bool = True
    ) -> None:
        self._page = page
        self._refresh = refresh
        self._sync = sync
        self._leads_on = leads_on
        self._last_lag: float | None = None
        self._tries_by_itself = False
        self.box = ui.element("section").classes("sync-card")
        self.box.props["aria-label"] = page.t("Sync {name}", name=sync.id)
        with self.box:
            self._head(leads_on=leads_on)
            self._picture()
            self._facts = ui.element("div").classes("sync-facts")
            with self._facts:
                self._lag, self._place, self._tables = (ui.label() for _ in range(3))
                # Why the button is off: in sight, for a finger can't hover.
                self._no_snapshot = ui.label(page.t("A snapshot can be taken once the sync is live."))
                self._letters = ui.link("", target("/dead-letters", sync=sync.id)).classes("is-warning")
            self._snapshot()
            self._trouble_box()
        self.update(sync)

    def _head(self, *, leads_on: bool) -> None:
        page, sync = self._page, self._sync
        t = page.t
        with ui.element("div").classes("sync-head"):
            if leads_on:
                ui.link(sync.id, watch_path(sync.id)).classes("sync-name")
            else:
                ui.label(sync.id).classes("sync-name")
            self._health = LiveState()
            self._changed = LiveState()
            with ui.element("div").classes("cell-actions"):
                self._enable = action(
                    t("Enable"), Kind.START, self._do_enable, icon="power", describes=t("Enable {name}", name=sync.id)
                )
                self._start = action(
                    t("Start"), Kind.START, self._do_start, icon="play_arrow", describes=t("Start {name}", name=sync.id)
                )
                self._restart = action(
                    t("Restart"),
                    Kind.CHANGE,
                    self._do_restart,
                    icon="restart_alt",
                    describes=t("Restart {name}", name=sync.id),
                )
                self._stop = action(
                    t("Stop"), Kind.STOP, self._do_stop, icon="stop", describes=t("Stop {name}", name=sync.id)
                )
                self._take = action(
                    t("Snapshot"),
                    Kind.CHANGE,
                    lambda: ask_for_snapshot(page, self._sync, self._refresh),
                    icon="photo_camera",
                    describes=t("Snapshot of {name}", name=sync.id),
                )

    def _picture(self) -> None:
        t = self._page.t
        with ui.element("div").classes("flow"):
            with ui.element("div").classes("flow-end"):
                ui.label(t("Source")).classes("flow-kind")
                self._source = ui.label().classes("flow-name")
                self._source_driver = ui.label().classes("flow-driver")
            self._in = _Arrow()
            with ui.element("div").classes("flow-bus"):
                ui.label(t("Bus")).classes("flow-kind")
                self._fill = Meter(t("How full the queue of {name} is", name=self._sync.id))
                self._queue = ui.label().classes("flow-driver")
            self._out = _Arrow()
            with ui.element("div").classes("flow-end"):
                ui.label(t("Pusher")).classes("flow-kind")
                self._pusher = ui.label().classes("flow-name")
                self._pusher_driver = ui.label().classes("flow-driver")

    def _snapshot(self) -> None:
        page = self._page
        t = page.t
        self._snapshot_box = ui.element("div").classes("sync-snapshot")
        with self._snapshot_box:
            self._snapshot_text = ui.label().classes("sync-snapshot-text")
            self._progress = Meter(t("How far the snapshot of {name} is", name=self._sync.id), is_progress=True)
            with ui.element("div").classes("cell-actions"):
                self._pause = action(
                    t("Pause"),
                    Kind.STOP,
                    lambda: self._act(page.client.pause_snapshot(self._sync.id), "The snapshot is paused."),
                    describes=t("Pause the snapshot of {name}", name=self._sync.id),
                )
                self._resume = action(
                    t("Go on"),
                    Kind.START,
                    lambda: self._act(page.client.resume_snapshot(self._sync.id), "The snapshot goes on."),
                    describes=t("Go on with the snapshot of {name}", name=self._sync.id),
                )
                self._cancel = action(
                    t("Cancel the snapshot"),
                    Kind.DELETE,
                    lambda: self._act(page.client.cancel_snapshot(self._sync.id), "The snapshot is given up."),
                    describes=t("Cancel the snapshot of {name}", name=self._sync.id),
                )

    def _trouble_box(self) -> None:
        self._is_mild = False
        self._trouble = ui.element("div").classes("trouble")
        with self._trouble:
            self._reason = ui.label().classes("trouble-reason")
            self._hint = ui.label()
            self._next_try = ui.label()
        self._note = ui.label().classes("sync-note")

    # -- what it shows -----------------------------------------------------------------------------------------------

    def update(self, sync: SyncState) -> None:
        """
        Show the sync as it is now. Only what has changed is sent to the window.
        """
        self._sync = sync
        t = self._page.t
        word, mood = HEALTH.get(sync.health, (sync.health, Mood.OFF))
        if sync.disabled_by is not None and sync.health == "stopped":
            word = "disabled"
        if sync.health == "live" and sync.snapshot is not None and sync.snapshot.state == "paused":
            word = "live, the snapshot is paused"
        self._health.show(t(word), mood)
        is_changed = "RUNNING_CONF_OUTDATE" in sync.states
        self._changed.show(t("changes wait") if is_changed else "", Mood.WAIT)
        self._changed.shown = is_changed
        runs = sync.health not in ("stopped", "stopping")
        for button, is_there in (
            (self._enable, sync.disabled_by is not None),
            (self._start, not runs and sync.disabled_by is None),
            (self._restart, runs),
            (self._stop, runs),
        ):
            button.visible = is_there
        self._show_whether_a_snapshot_can_be_taken(sync, runs=runs)
        self._show_flow(sync, runs=runs)
        self._show_facts(sync)
        self._show_snapshot(sync.snapshot)
        self._show_trouble(sync)

    def _show_whether_a_snapshot_can_be_taken(self, sync: SyncState, *, runs: bool) -> None:
        is_live = sync.health in ("live", "copying")
        self._take.visible = runs and sync.snapshot is None
        self._take.set_enabled(is_live)
        self._no_snapshot.visible = self._take.visible and not is_live

    def _show_flow(self, sync: SyncState, *, runs: bool) -> None:
        t = self._page.t
        self._source.text, self._pusher.text = sync.source or "—", sync.pusher or "—"
        self._source_driver.text, self._pusher_driver.text = t(sync.source_title), t(sync.pusher_title)
        self._in.show(t("{number} rows/s", number=speed(sync.read_rows_per_s)), moves=bool(sync.read_rows_per_s))
        self._out.show(
            t("{number} rows/s", number=speed(sync.rows_per_s)),
            moves=bool(sync.rows_per_s),
            is_broken=runs and sync.health in IN_TROUBLE,
        )
        fill = sync.queue_fill or 0.0
        self._fill.show(fill, "is-hot" if fill >= _HOT else "is-warm" if fill >= _WARM else "")
        self._queue.text = (
            t("{percent} % full, {size}", percent=round(100 * fill), size=size(sync.queue_bytes))
            if sync.queue_events or fill
            else t("empty")
        )

    def _show_facts(self, sync: SyncState) -> None:
        t = self._page.t
        counts = [
            t(english, number=count(sync.table_counts[state]))
            for state, english in TABLE_COUNTS.items()
            if sync.table_counts.get(state)
        ]
        has_position = self._leads_on and sync.position is not None
        for label, text in (
            (self._lag, self._how_late(sync)),
            # Where the sync has a page of its own, its figures say it.
            (self._place, self._position(sync) if has_position else ""),
            (self._tables, t("tables: {counts}", counts=listed(self._page, counts)) if counts else ""),
            (self._letters, letters(self._page, sync.dead_letters) if sync.dead_letters else ""),
        ):
            label.text = text
            label.visible = bool(text)

    def _how_late(self, sync: SyncState) -> str:
        t = self._page.t
        if sync.lag_s is not None:
            self._last_lag = sync.lag_s
            return t("behind by {time}", time=span(self._page, sync.lag_s))
        if sync.health not in IN_TROUBLE:
            return ""
        if self._last_lag is None:
            return t("how far behind: not known")
        return t("was behind by {time} at last", time=span(self._page, self._last_lag))

    def _position(self, sync: SyncState) -> str:
        if sync.lag_bytes:
            return self._page.t(
                "position {place}, {size} not yet confirmed", place=sync.position, size=size(sync.lag_bytes)
            )
        return self._page.t("position {place}", place=sync.position)

    def _show_snapshot(self, snapshot: SnapshotInfo | None) -> None:
        self._snapshot_box.visible = snapshot is not None
        if snapshot is None:
            return
        is_paused = snapshot.state == "paused"
        self._pause.visible, self._resume.visible = not is_paused, is_paused
        self._snapshot_text.text = how_far(self._page, snapshot)
        expected = snapshot.rows_expected
        self._progress.shown = bool(expected)
        if expected:
            self._progress.show(snapshot.rows / expected)

    def _show_trouble(self, sync: SyncState) -> None:
        t = self._page.t
        is_bad, is_retried = sync.health == "failed", sync.health == "retrying"
        is_told = is_bad or is_retried
        if not is_told:
            self._tries_by_itself = False
        self._trouble.visible = is_told
        if is_retried != self._is_mild:
            self._is_mild = is_retried
            self._trouble.classes(**{"add" if is_retried else "remove": "is-mild"})
        reason, hint = sync.reason or "", sync.hint or ""
        if not is_told and reason in REASONS:
            said = REASONS[reason]
            if said == ALL_ARRIVED and sync.dead_letters:
                told = letters(self._page, sync.dead_letters)
                reason, hint = t("Everything has arrived, except for {letters}.", letters=told), ""
            else:
                reason, hint = t(said), ""
        reason, hint = self._page.told(reason), self._page.told(hint)
        if sync.disabled_by is not None and sync.health == "stopped":
            reason, hint = t(_DISABLED.get(sync.disabled_by, "It is disabled.")), ""
        self._reason.text = reason if is_told else ""
        self._hint.text = t("What to do: {hint}", hint=hint) if is_told and hint else ""
        self._hint.visible = bool(self._hint.text)
        self._next_try.text = self._when_again(sync) if is_told else ""
        self._next_try.visible = bool(self._next_try.text)
        note = "" if is_told else " ".join(part for part in (reason, hint) if part)
        self._note.text = note
        self._note.visible = bool(note)

    def _when_again(self, sync: SyncState) -> str:
        """
        Say when it is tried again. The line stays while that is done, or all below it would jump up and down.
        """
        t, wait_s = self._page.t, sync.next_try_s
        if wait_s is not None:
            self._tries_by_itself = True
        if wait_s is not None and wait_s >= 1:
            return t("It is tried again in {time}.", time=span(self._page, wait_s))
        return t("It is being tried again…") if self._tries_by_itself or sync.health == "retrying" else ""

    # -- what it does ------------------------------------------------------------------------------------------------

    async def _act(self, change: Awaitable[Any], done: str) -> None:
        await self._page.act(change, done)
        await self._refresh()

    async def _do_enable(self) -> None:
        page, section = self._page, self._sync.disabled_by
        if section != "syncs":
            page.go(f"/{section}")
            return
        enabled = page.client.enable_config("syncs", self._sync.id)
        await self._act(enabled, "It is enabled. It takes effect when the changes are applied.")

    async def _do_start(self) -> None:
        await self._act(self._page.client.start(self._sync.id), "It starts.")

    async def _do_stop(self) -> None:
        await self._act(self._page.client.stop(self._sync.id), "It is stopped.")

    async def _do_restart(self) -> None:
        client, sync = self._page.client, self._sync.id
        if await self._page.act(client.stop(sync)) is not None:
            await self._act(client.start(sync), "It starts anew.")


class _Arrow:
    """
    What flows from one part to the next; it moves while something does.
    """

    def __init__(self) -> None:
        self._box = ui.element("div").classes("flow-arrow")
        with self._box:
            self._text = ui.label()
            ui.element("div").classes("flow-line").props("aria-hidden=true")
        self._looks: dict[str, bool] = {}

    def show(self, text: str, *, moves: bool, is_broken: bool = False) -> None:
        self._text.text = text
        for name, is_so in (("is-moving", moves and not is_broken), ("is-broken", is_broken)):
            if self._looks.get(name, False) != is_so:
                self._looks[name] = is_so
                self._box.classes(**{"add" if is_so else "remove": name})


def how_far(page: Page, snapshot: SnapshotInfo) -> str:
    """
    Say how far a snapshot is.
    """
    t = page.t
    parts = [t("Snapshot") if not snapshot.tables else t("Snapshot of {tables}", tables=few(page, snapshot.tables, 3))]
    expected = snapshot.rows_expected
    if snapshot.state == "ending":
        parts.append(t("all is read, and is being confirmed"))
    if expected:
        percent = min(99, int(100 * snapshot.rows / expected))
        parts.append(
            t(
                "{percent} %: {rows} of about {all} rows",
                percent=percent,
                rows=count(snapshot.rows),
                all=count(expected),
            )
        )
    else:
        parts.append(t("{rows} rows so far", rows=count(snapshot.rows)))
    if snapshot.state == "paused":
        parts.append(t("paused"))
    elif snapshot.rate:
        parts.append(t("{number} rows/s", number=speed(snapshot.rate)))
        if snapshot.eta_s is not None:
            parts.append(t("about {time} left", time=span(page, snapshot.eta_s)))
    return " · ".join(parts)


def watch_path(name: str) -> str:
    """
    Return the path of the page of one sync.
    """
    return f"/watch/{quote(name, safe='')}"
