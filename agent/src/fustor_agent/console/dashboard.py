"""
The page that says how all syncs are: in one sentence, and as a live picture of each.
"""

from __future__ import annotations

from typing import Final

from nicegui import ui

from fustor_agent.console.lists import few
from fustor_agent.console.sync_card import SyncCard, watch_path
from fustor_agent.console.words import letters
from fustor_client.agent_models import Overview
from fustor_client.models import SyncState
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.formats import count
from fustor_web_ui.healths import HEALTH
from fustor_web_ui.page import Page, console_page

ON_A_PAGE: Final = 20
_REFRESH_S: Final = 1.0
_TABLES: Final = 0
_NAMES: Final = 3


@console_page("/", "Dashboard")
async def dashboard(page: Page, health: str | None = None, text: str | None = None) -> None:
    """
    Show every sync as it is now, a page of them at a time.
    """
    shown = _Dashboard(page, health if health in HEALTH else None, (text or "").strip())
    await shown.refresh()
    ui.timer(_REFRESH_S, shown.refresh, immediate=False)


class _Dashboard:
    def __init__(self, page: Page, health: str | None, text: str) -> None:
        self._page = page
        self._health = health
        self._text = text
        self._at = 0
        self._cards: dict[str, SyncCard] = {}
        t = page.t
        self._headline = ui.element("div").classes("headline").props("role=status")
        with self._headline:
            with ui.element("div"):
                self._sentence = ui.label().classes("headline-part")
                self._named = ui.link("", "/").classes("headline-part")
            with ui.element("div").classes("headline-more") as self._more:
                self._letters = ui.link("", "/dead-letters")
                self._cleanups = ui.link("", "/sources")
        self._look = ""
        self._bar = ui.element("div").classes("console-bar")
        with self._bar:
            self._chips = {name: self._chip(name) for name in (None, *HEALTH)}
            ui.input(t("Search"), value=text, on_change=lambda event: self._search(event.value)).props(
                "outlined dense debounce=400 type=search"
            ).classes("dashboard-search")
        self._list = ui.element("div").classes("sync-list")
        self._empty = ui.element("div").classes("console-empty")
        with self._empty:
            self._why_empty = ui.label()
            with ui.element("div").classes("console-bar is-centered") as self._begin:
                action(t("New source"), Kind.START, lambda: page.go("/sources/new"), icon="add")
                action(t("New sync"), Kind.START, lambda: page.go("/syncs/new"), icon="add")
        self._turn = ui.element("nav").classes("console-turn")
        self._turn.props["aria-label"] = t("Pages of the syncs")
        with self._turn:
            self._back = action(
                t("Previous"), Kind.PLAIN, lambda: self._go_to(self._at - ON_A_PAGE), icon="chevron_left"
            )
            self._where = ui.label()
            self._forward = action(
                t("Next"), Kind.PLAIN, lambda: self._go_to(self._at + ON_A_PAGE), icon="chevron_right"
            )

    def _chip(self, health: str | None) -> ui.button:
        chip = action("", Kind.PLAIN, lambda: self._narrow(health)).classes("chip")
        chip.props["aria-pressed"] = "true" if health == self._health else "false"
        return chip

    async def _narrow(self, health: str | None) -> None:
        self._health = health
        for name, chip in self._chips.items():
            pressed = "true" if name == health else "false"
            if chip.props["aria-pressed"] != pressed:
                chip.props["aria-pressed"] = pressed
                chip.update()
        await self._go_to(0)

    async def _search(self, text: str | None) -> None:
        self._text = (text or "").strip()
        await self._go_to(0)

    async def _go_to(self, at: int) -> None:
        self._page.console.sessions.touch(self._page.session)
        self._at = max(0, at)
        await self.refresh()

    async def refresh(self) -> None:
        """
        Ask the agent how all is, and show what has changed.
        """
        page = self._page
        overview = await page.ask(page.client.overview())
        if overview is None:
            return
        wanted = {"health": self._health, "text": self._text or None, "tables": _TABLES, "troubled_first": True}
        found = await page.ask(page.client.instances(**wanted, offset=self._at, limit=ON_A_PAGE))
        if found is None:
            return
        if not found.syncs and self._at:
            self._at = max(0, (found.total - 1) // ON_A_PAGE * ON_A_PAGE)
            await self.refresh()
            return
        self._show_headline(overview)
        self._show_chips(overview)
        self._show_cards(found.syncs)
        self._show_empty(overview, found.total)
        self._show_turn(found.total)

    def _show_headline(self, overview: Overview) -> None:
        t = self._page.t
        sentence, look, name = headline(self._page, overview)
        # The name stands at the end in both languages.
        self._sentence.text = sentence.removesuffix(name)
        if self._named.text != name:
            self._named.text = name
            self._named.props["href"] = watch_path(name)
            self._named.update()
        self._named.visible = bool(name)
        parked, cleanups = overview.dead_letters, overview.cleanups
        for link, text in (
            (self._letters, self._of_letters(overview) if parked else ""),
            (
                self._cleanups,
                t("something may be left at deleted sources: {number}", number=cleanups) if cleanups else "",
            ),
        ):
            link.text = text
            link.visible = bool(text)
        self._more.visible = bool(parked or cleanups)
        if look != self._look:
            self._headline.classes(add=look, remove=self._look)
            self._look = look

    def _of_letters(self, overview: Overview) -> str:
        # With whose they are: the line above may be about another sync.
        told = letters(self._page, overview.dead_letters)
        names = few(self._page, overview.dead_letters_of, _NAMES)
        return self._page.t("{letters}: {names}", letters=told, names=names) if names else told

    def _show_chips(self, overview: Overview) -> None:
        t = self._page.t
        for name, chip in self._chips.items():
            number = overview.syncs if name is None else overview.health.get(name, 0)
            chip.text = f"{t('all') if name is None else t(HEALTH[name][0])} {count(number)}"
            chip.visible = name is None or number > 0 or name == self._health
        self._bar.visible = overview.syncs > 1

    def _show_cards(self, syncs: list[SyncState]) -> None:
        there = {sync.id for sync in syncs}
        for gone in [name for name in self._cards if name not in there]:
            self._cards.pop(gone).box.delete()
        for at, sync in enumerate(syncs):
            card = self._cards.get(sync.id)
            if card is not None:
                card.update(sync)
            else:
                with self._list:
                    card = self._cards[sync.id] = SyncCard(self._page, sync, self.refresh)
            if self._list.default_slot.children[at] is not card.box:
                card.box.move(self._list, at)

    def _show_empty(self, overview: Overview, total: int) -> None:
        t = self._page.t
        is_new = overview.syncs == 0
        self._empty.visible = total == 0
        self._begin.visible = is_new
        self._why_empty.text = (
            t("No sync is set up yet. A sync takes what happens in a source to a pusher. Begin with the source.")
            if is_new
            else t("No sync is so, or has that name.")
        )

    def _show_turn(self, total: int) -> None:
        self._turn.visible = total > ON_A_PAGE
        self._where.text = self._page.t(
            "{first} to {last} of {all}",
            first=count(min(self._at + 1, total)),
            last=count(min(self._at + ON_A_PAGE, total)),
            all=count(total),
        )
        self._back.set_enabled(self._at > 0)
        self._forward.set_enabled(self._at + ON_A_PAGE < total)


def headline(page: Page, overview: Overview) -> tuple[str, str, str]:
    """
    Say in one sentence how the agent is; how that looks; and the name of the sync at its end, where it is about one.
    """
    t = page.t
    total, failed = overview.syncs, overview.health.get("failed", 0)
    live = overview.health.get("live", 0) + overview.health.get("copying", 0)
    if overview.dead_letters_full:
        return t("There is no more room for dead letters: syncs stop instead of dropping rows."), "is-bad", ""
    if not total:
        return t("Nothing is set up yet."), "is-off", ""
    if failed == total == 1:
        return t("The sync has failed."), "is-bad", ""
    if failed == 1:
        return (
            t("1 of {total} syncs has failed: {name}", total=total, name=overview.failed[0]),
            "is-bad",
            overview.failed[0],
        )
    if failed:
        return t("{number} of {total} syncs have failed.", number=failed, total=total), "is-bad", ""
    retrying = overview.health.get("retrying", 0)
    if retrying == 1 and overview.retrying:
        name = overview.retrying[0]
        return (
            t("1 of {total} syncs can't go on now, and keeps trying: {name}", total=total, name=name),
            "is-wait",
            name,
        )
    if retrying:
        return (
            t("{number} of {total} syncs can't go on now, and keep trying.", number=retrying, total=total),
            "is-wait",
            "",
        )
    if live == total == 1:
        return t("The sync is live."), "is-good", ""
    if live == total:
        return t("All {total} syncs are live.", total=total), "is-good", ""
    return t("{number} of {total} syncs are live, none has failed.", number=live, total=total), "is-wait", ""
