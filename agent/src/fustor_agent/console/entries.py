"""
The lists of what is configured: sources, pushers and syncs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal
from urllib.parse import quote

from nicegui import ui

from fustor_agent.console.changes import change
from fustor_agent.console.driver_sentences import driver_titles
from fustor_agent.console.leftovers import show_leftovers
from fustor_agent.console.lists import few
from fustor_agent.console.schema_fields import sentence
from fustor_agent.console.words import IN_TROUBLE, letters
from fustor_client.agent_models import Configuration
from fustor_client.models import SyncState
from fustor_web_ui.actions import Kind, action, ask_twice
from fustor_web_ui.formats import count, listed
from fustor_web_ui.healths import HEALTH
from fustor_web_ui.page import Page, console_page, target
from fustor_web_ui.states import Mood, state
from fustor_web_ui.tables import Column, PagedTable, slices

Section = Literal["sources", "pushers", "syncs"]
Entry = dict[str, Any]

_EMPTY: Final[dict[Section, str]] = {
    "sources": "There is no source yet. A source is where data comes from: a database, or a tree of files.",
    "pushers": "There is no pusher yet. A pusher takes data to a consumer, such as Fusion.",
    "syncs": "There is no sync yet. A sync joins a source to a pusher: make these two first.",
}
_NEW: Final[dict[Section, str]] = {"sources": "New source", "pushers": "New pusher", "syncs": "New sync"}
_CAPTIONS: Final[dict[Section, str]] = {"sources": "Sources", "pushers": "Pushers", "syncs": "Syncs"}
_ASKED: Final[dict[Section, str]] = {
    "sources": "Delete the source {name}?",
    "pushers": "Delete the pusher {name}?",
    "syncs": "Delete the sync {name}?",
}

_ASKED_UNUSED: Final[dict[Section, str]] = {
    "sources": "Delete every source that no sync uses?",
    "pushers": "Delete every pusher that no sync uses?",
}


@console_page("/sources", "Sources")
async def sources(page: Page) -> None:
    """
    List the sources.
    """
    await _Entries(page, "sources").show()


@console_page("/pushers", "Pushers")
async def pushers(page: Page) -> None:
    """
    List the pushers.
    """
    await _Entries(page, "pushers").show()


@console_page("/syncs", "Syncs")
async def syncs(page: Page) -> None:
    """
    List the syncs.
    """
    await _Entries(page, "syncs").show()


def path_of(section: Section, name: str, *more: str) -> str:
    """
    Return the path of a page about one entry.
    """
    return "/".join(["", section, quote(name, safe=""), *more])


class _Entries:
    def __init__(self, page: Page, section: Section) -> None:
        self._page = page
        self._section: Section = section
        self._text = ""
        self._configuration = Configuration()
        self._running: dict[str, SyncState] = {}
        self._titles: dict[str, str] = {}
        t = page.t
        with ui.element("div").classes("console-bar"):
            action(t(_NEW[section]), Kind.START, lambda: page.go(f"/{section}/new"), icon="add")
            ui.input(t("Search"), on_change=lambda event: self._search(event.value)).props(
                "outlined dense debounce=400 type=search"
            )
            self._unused = action("", Kind.DELETE, self._ask_unused, icon="cleaning_services")
            self._unused.visible = False
        self._table: PagedTable[Entry] = PagedTable(
            page, t(_CAPTIONS[section]), self._columns(), slices(page, self._load), empty=t(_EMPTY[section])
        )
        self._leftovers = ui.element("div")

    async def show(self) -> None:
        """
        Show the list, and what is left to do.
        """
        await self._table.show()
        await self._show_what_is_left()

    async def _load(self) -> list[Entry]:
        client = self._page.client
        self._configuration = await client.configuration()
        if self._section == "syncs":
            self._running = {sync.id: sync for sync in (await client.instances(tables=0)).syncs}
        else:
            self._titles = (await driver_titles(self._page))[self._section]
        entries: dict[str, Entry] = getattr(self._configuration, self._section)
        wanted = self._text.casefold()
        return [one for one in entries.values() if not wanted or any(wanted in part.casefold() for part in _said(one))]

    async def _search(self, text: str | None) -> None:
        self._text = (text or "").strip()
        await self._table.restart()

    def _columns(self) -> list[Column[Entry]]:
        t = self._page.t
        name: Column[Entry] = Column(t("Name"), lambda entry: str(entry["id"]))
        how: Column[Entry] = Column(t("State"), fill=self._state, shape="is-how")
        does: Column[Entry] = Column("", fill=self._actions, shape="is-doing")
        if self._section == "syncs":
            return [
                name,
                Column(t("From"), lambda entry: str(entry.get("source") or "")),
                Column(t("To"), lambda entry: str(entry.get("pusher") or "")),
                how,
                does,
            ]
        address = "uri" if self._section == "sources" else "endpoint"
        return [
            name,
            Column(t("Driver"), self._driver, shape="is-short"),
            Column(t("Address"), lambda entry: str(entry.get(address) or ""), shape="is-long is-address"),
            how,
            Column(t("Used by"), lambda entry: self._users(entry), shape="is-names"),
            does,
        ]

    def _driver(self, entry: Entry) -> str:
        name = str(entry.get("driver") or "")
        return self._titles.get(name, name)

    def _users(self, entry: Entry) -> str:
        users = entry["dependants"]
        if not users:
            return self._page.t("no sync")
        return few(self._page, users, 3)

    def _is_disabled(self, entry: Entry) -> bool:
        # What a source or a pusher does not say is "disabled", what a sync does not say is "enabled".
        return entry.get("disabled", self._section != "syncs") is not False

    def _state(self, entry: Entry) -> None:
        with ui.element("div").classes("cell-how"):
            self._tell_state(entry)

    def _tell_state(self, entry: Entry) -> None:
        t = self._page.t
        running = self._running.get(str(entry["id"]))
        with ui.element("div").classes("cell-states"):
            if entry["problems"]:
                state(t("has problems"), Mood.BAD)
            if self._is_disabled(entry):
                state(t("disabled"), Mood.OFF)
            elif self._section != "syncs":
                state(t("enabled"), Mood.GOOD)
            elif running is not None:
                word, mood = HEALTH[running.health]
                state(t(word), mood)
            else:
                state(t("not applied yet"), Mood.WAIT)
            if running is not None and running.dead_letters:
                parked = letters(self._page, running.dead_letters)
                ui.link(parked, target("/dead-letters", sync=running.id)).classes("cell-letters")
        for problem in entry["problems"]:
            ui.label(self._page.told_with(problem["message"], problem["hint"])).classes("cell-problem")
        for text in (running.reason, running.hint) if running is not None and running.health in IN_TROUBLE else ():
            if text:
                ui.label(sentence(self._page.told(text))).classes("cell-problem")

    def _actions(self, entry: Entry) -> None:
        page, section, name = self._page, self._section, str(entry["id"])
        t = page.t
        with ui.element("div").classes("cell-actions"):
            if self._is_disabled(entry):
                self._button("Enable", Kind.START, entry, self._switch)
            else:
                self._button("Disable", Kind.STOP, entry, self._switch)
            if section == "syncs":
                self._button("Watch", Kind.PLAIN, entry, lambda _: page.go(f"/watch/{quote(name, safe='')}"))
            self._button("Edit", Kind.CHANGE, entry, lambda _: page.go(path_of(section, name, "edit")))
            self._button("Clone", Kind.CHANGE, entry, lambda _: page.go(path_of(section, name, "clone")))
            action(t("Delete"), Kind.DELETE, lambda: self._ask_delete(entry), describes=t("Delete {name}", name=name))

    def _button(self, label: str, kind: Kind, entry: Entry, do: Callable[[Entry], Any]) -> None:
        word = self._page.t(label)
        action(word, kind, lambda: do(entry), describes=f"{word} {entry['id']}")

    @property
    def _revision(self) -> int | None:
        return self._configuration.revision

    async def _switch(self, entry: Entry) -> None:
        client, name = self._page.client, str(entry["id"])
        do = client.enable_config if self._is_disabled(entry) else client.disable_config
        await change(
            self._page,
            do(self._section, name, if_revision=self._revision),
            "{name} is saved so. It takes effect when the changes are applied.",
            name=name,
        )
        await self.show()

    def _ask_delete(self, entry: Entry) -> None:
        page, name, users = self._page, str(entry["id"]), list(entry["dependants"])
        t = page.t
        if users:
            consequence = t("These syncs need it, and are deleted with it: {names}", names=listed(page, users))
        elif self._section == "syncs":
            consequence = t("Its rows stay at the consumer. Source and pusher stay here.")
        else:
            consequence = t("No sync uses it.")

        async def delete() -> None:
            gone = page.client.delete_config(
                self._section, name, with_dependants=bool(users), if_revision=self._revision
            )
            await change(page, gone, "{name} is deleted. It takes effect when the changes are applied.", name=name)
            await self.show()

        ask_twice(page, t(_ASKED[self._section], name=name), consequence, t("Delete"), delete)

    # -- what is left to do ------------------------------------------------------------------------------------------

    async def _show_what_is_left(self) -> None:
        if self._section == "syncs":
            return
        unused = self._not_used()
        self._unused.visible = bool(unused)
        self._unused.text = self._page.t("Delete what no sync uses ({number})", number=count(len(unused)))
        if self._section == "sources":
            self._leftovers.clear()
            with self._leftovers:
                show_leftovers(self._page, self._configuration.cleanups, self.show)

    def _not_used(self) -> list[str]:
        entries: dict[str, Entry] = getattr(self._configuration, self._section)
        return [name for name, entry in entries.items() if not entry["dependants"]]

    def _ask_unused(self) -> None:
        page, t = self._page, self._page.t

        async def delete() -> None:
            gone = page.client.delete_unused_configs(only=self._section, if_revision=self._revision)
            await change(page, gone, "They are deleted. It takes effect when the changes are applied.")
            await self.show()

        ask_twice(
            page,
            t(_ASKED_UNUSED[self._section]),
            t("These are deleted: {names}", names=listed(page, self._not_used())),
            t("Delete"),
            delete,
        )


def _said(entry: Entry) -> list[str]:
    return [str(entry.get(name) or "") for name in ("id", "driver", "uri", "endpoint", "source", "pusher")]
