"""
What is in a directory, or what a search below it finds: a page at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from nicegui import ui

from fustor_client.models import FileEntry
from fustor_fusion.console.file_changes import Fresh
from fustor_fusion.console.file_details import TYPES, show_details
from fustor_fusion.console.names import visible
from fustor_fusion.console.place import ICONS, Place, place_link
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.formats import NONE, ago, instant, size
from fustor_web_ui.live_table import LiveColumn, LiveTable, Wanted
from fustor_web_ui.page import Page
from fustor_web_ui.tables import Part

ROWS: Final = 100
_FIRST_ORDER: Final = "type"


class FileList:
    """
    The entries.

    Args:
        page: Where it stands.
        go: Goes to a directory.
    """

    def __init__(self, page: Page, go: Callable[[Place], Awaitable[None]]) -> None:
        self._page = page
        self._go = go
        self._place: Place | None = None
        self._query = ""
        t = page.t
        with ui.element("div").classes("console-bar files-search"):
            self._search = (
                ui.input(
                    t("Search below this folder"),
                    placeholder=t("part of a name, or a pattern such as *.csv"),
                    on_change=lambda event: self._look_for(event.value or ""),
                )
                .props("outlined dense clearable debounce=400 maxlength=1000")
                .classes("files-query")
            )
        with ui.element("div").classes("entries"):
            self._table: LiveTable[FileEntry] = LiveTable(
                page,
                "",
                [
                    LiveColumn(
                        t("Name"), fill=self._name, value=lambda one: (one.type, self._query != ""), sort="name"
                    ),
                    LiveColumn(
                        t("Size"),
                        lambda one: size(one.size) if one.type == "file" else NONE,
                        is_number=True,
                        shape="is-short",
                        sort="size",
                    ),
                    LiveColumn(t("Modified"), self._modified, shape="is-short", sort="mtime"),
                    LiveColumn(t("Kind"), lambda one: t(TYPES.get(one.type, one.type)), sort="type"),
                    LiveColumn("", fill=self._details, value=lambda one: None),
                ],
                self._load,
                key=lambda one: one.path,
                empty="",
                sort=_FIRST_ORDER,
            )

    def enter(self, place: Place) -> None:
        """
        Be in another directory; show it with `show`.
        """
        self._place = place
        self._query = ""
        self._search.set_value("")
        self._table.begin()

    async def show(self) -> None:
        """
        Show what is there.
        """
        await self._table.show()

    async def refresh(self, fresh: Fresh) -> None:
        """
        Show what has changed there. What a search found stays as it was found.
        """
        if self._place is not None and not self._query and fresh.touches(self._place.path):
            await self._table.show()

    async def _look_for(self, text: str) -> None:
        if text.strip() != self._query:
            self._query = text.strip()
            self._page.console.sessions.touch(self._page.session)
            await self._table.restart()

    async def _load(self, wanted: Wanted) -> Part | None:
        place, page = self._place, self._page
        assert place is not None
        if self._query:
            # Sorted, a search has to look at every hit; unsorted it ends with the page.
            order = {} if wanted.sort == _FIRST_ORDER else {"sort": wanted.sort, "order": wanted.order}
            hits = await page.ask(
                page.client.search(
                    self._query,
                    path=place.asked(place.path),
                    tree=place.tree.tree,
                    limit=ROWS,
                    cursor=wanted.cursor,
                    **order,
                )
            )
            self._table.caption(page.t("Found below {folder}", folder=place.name))
            self._table.empty(page.t("Nothing below this folder has such a name."))
            return None if hits is None else Part(hits.rows, hits.next)
        found = await page.ask(
            page.client.tree(
                place.asked(place.path),
                tree=place.tree.tree,
                limit=ROWS,
                cursor=wanted.cursor,
                sort=wanted.sort,
                order=wanted.order,
            )
        )
        self._table.caption(page.t("In {folder}", folder=place.name))
        self._table.empty(page.t("This folder is empty."))
        return None if found is None else Part(found.children or [], found.next)

    def _name(self, entry: FileEntry) -> None:
        place = self._place
        assert place is not None
        with ui.element("div").classes("entry"):
            ui.icon(ICONS.get(entry.type, "help")).classes(f"entry-icon is-{entry.type}").props("aria-hidden=true")
            with ui.element("div").classes("entry-text"):
                if entry.type == "dir":
                    place_link(place.at(entry.path), self._go, visible(entry.name)).classes("entry-name")
                else:
                    ui.label(visible(entry.name)).classes("entry-name")
                if self._query:
                    above = entry.path.rpartition("/")[0]
                    place_link(place.at(above), self._go, visible(above) or place.at("").name).classes("flow-soft")

    def _details(self, entry: FileEntry) -> None:
        place = self._place
        assert place is not None
        with ui.element("div").classes("cell-actions"):
            action(
                self._page.t("Details"),
                Kind.PLAIN,
                lambda: show_details(self._page, place, entry.path),
                describes=self._page.t("Details of {name}", name=visible(entry.name)),
            )

    def _modified(self, entry: FileEntry) -> str:
        return ago(self._page, instant(entry.mtime or None), never="unknown")
