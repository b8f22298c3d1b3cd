"""
The page of the file trees: where one is, what is there, what takes the space, and what changes.
"""

from __future__ import annotations

from typing import Final

from nicegui import context, ui

from fustor_client.models import Stats, Tree
from fustor_core.errors import InvalidRequest, NotFoundError
from fustor_fusion.console.file_changes import Changes
from fustor_fusion.console.file_list import FileList
from fustor_fusion.console.file_sizes import FileSizes
from fustor_fusion.console.file_times import FileTimes
from fustor_fusion.console.file_tree import FileTree
from fustor_fusion.console.place import Place, place_link, root_name
from fustor_web_ui.formats import count, size
from fustor_web_ui.page import Page, console_page

_EVERY_S: Final = 1.5
_QUIET: Final = 6
"""
Everything is looked at anew after so many looks without a change.
"""
_LIST, _SIZES, _TIMES = "list", "sizes", "times"
_GONE: Final = Stats()
# Whoever went down by a link of the list stood on it, and it is gone: go on from the name of the folder.
_FOCUS: Final = """
    requestAnimationFrame(() => requestAnimationFrame(() => {
        if (!document.activeElement || document.activeElement === document.body)
            document.querySelector('.files-crumbs [aria-current]')?.focus({preventScroll: true});
    }))
"""


@console_page("/files", "Files")
async def files(page: Page, tree: str | None = None, root: str | None = None, path: str = "") -> None:
    """
    Show a directory; the root of the first tree when none is named.
    """
    t = page.t
    trees = await page.ask(page.client.trees())
    if trees is None:
        return
    if not trees:
        with ui.element("div").classes("console-empty"):
            ui.label(t("There are no files here."))
            ui.label(t("They appear once an agent syncs a folder to this datastore."))
        return
    chosen = next((one for one in trees if one.tree == tree and root in (None, one.root)), None)
    if chosen is None and tree is not None:
        ui.label(t("There is no such file tree any more.")).classes("console-empty")
        ui.link(t("Show the other file trees"), "/files")
        return
    browser = _Browser(page, trees, _place(trees, chosen or trees[0], path))
    await browser.go(browser.place, is_new=False)
    ui.timer(_EVERY_S, browser.refresh)
    context.client.on_delete(browser.close)


def _place(trees: list[Tree], tree: Tree, path: str = "") -> Place:
    return Place(tree, path, sum(one.tree == tree.tree for one in trees) > 1)


class _Browser:
    """
    The parts of the page, and where they are.
    """

    def __init__(self, page: Page, trees: list[Tree], place: Place) -> None:
        self._page = page
        self._trees = trees
        self.place = place
        self._shown = _LIST
        self._quiet = 0
        t = page.t
        self._changes = Changes(page)
        if len(trees) > 1:
            self._build_choice()
        with ui.element("div").classes("files"):
            with ui.element("nav").classes("files-tree").props(f'aria-label="{t("Folders")}"'):
                self._tree = FileTree(page, self.go)
            with ui.element("div").classes("files-main"):
                self._crumbs = ui.element("nav").classes("files-crumbs").props(f'aria-label="{t("Where you are")}"')
                self._totals = ui.label().classes("flow-soft")
                with (
                    ui.tabs(on_change=lambda event: self._turn_to(str(event.value)))
                    .props("no-caps inline-label dense align=left")
                    .classes("view-tabs") as tabs
                ):
                    ui.tab(_LIST, t("Entries"), "list")
                    ui.tab(_SIZES, t("Sizes"), "dashboard")
                    ui.tab(_TIMES, t("Changes"), "timeline")
                self._gone = ui.label(t("This folder is not there any more.")).classes("console-empty")
                self._gone.set_visibility(False)
                self._panels = ui.tab_panels(tabs, value=_LIST, animated=False).props("keep-alive")
                with self._panels.classes("files-panels"):
                    with ui.tab_panel(_LIST):
                        self._list = FileList(page, self.go)
                    with ui.tab_panel(_SIZES):
                        self._sizes = FileSizes(page, self.go)
                    with ui.tab_panel(_TIMES):
                        self._times = FileTimes(page, self._changes)

    def _build_choice(self) -> None:
        names = {at: f"{root_name(one)} ({one.tree})" for at, one in enumerate(self._trees)}
        with ui.element("div").classes("console-bar"):
            ui.select(
                names,
                label=self._page.t("File tree"),
                value=self._trees.index(self.place.tree),
                on_change=lambda event: self.go(_place(self._trees, self._trees[event.value])),
            ).props("outlined dense options-dense").classes("flow-choice")

    async def _turn_to(self, panel: str) -> None:
        self._shown = panel
        await self._show_panel()

    async def go(self, place: Place, *, is_new: bool = True) -> None:
        """
        Show another directory.
        """
        self.place = place
        if is_new:
            self._page.console.sessions.touch(self._page.session)
            self._page.moved(place.address)
        self._show_crumbs()
        self._changes.follow(place)
        self._list.enter(place)
        self._sizes.enter(place)
        self._times.enter(place)
        if await self._show_totals():
            await self._show_panel()
        await self._tree.show(place)
        if is_new:
            self._page.run(_FOCUS)

    async def _show_panel(self) -> None:
        if self._shown == _SIZES:
            await self._sizes.show()
        elif self._shown == _TIMES:
            await self._times.show()
        else:
            await self._list.show()

    def _show_crumbs(self) -> None:
        self._crumbs.clear()
        with self._crumbs, ui.element("ol"):
            for parent in self.place.parents:
                with ui.element("li"):
                    place_link(parent, self.go)
            with ui.element("li").props("aria-current=page tabindex=-1"):
                ui.label(self.place.name)

    async def _show_totals(self) -> bool:
        """
        Show what the directory comes to; return whether it is there (still).
        """
        page, place = self._page, self.place
        stats = await page.ask(self._stats(place))
        if place is not self.place or stats is None:
            return False
        is_there = stats is not _GONE
        self._gone.set_visibility(not is_there)
        self._panels.set_visibility(is_there)
        self._totals.text = (
            page.t(
                "{files} files, {dirs} folders and {size} in all, with everything below",
                files=count(stats.files),
                dirs=count(stats.dirs),
                size=size(stats.bytes),
            )
            if is_there
            else ""
        )
        return is_there

    async def _stats(self, place: Place) -> Stats:
        try:
            found: Stats = await self._page.client.stats(place.asked(place.path), tree=place.tree.tree)
        except (NotFoundError, InvalidRequest):
            return _GONE  # it was removed, or there is a file of that name now
        return found

    async def refresh(self) -> None:
        """
        Show what has changed since the last time.
        """
        page = self._page
        if self._changes.failure is not None:
            failure, self._changes.failure = self._changes.failure, None
            page.tell(failure)
        fresh = self._changes.take()
        self._quiet = 0 if fresh.count else self._quiet + 1
        if not fresh.count and self._quiet % _QUIET:
            # Whoever has no right to look any more is told, also when nothing changes.
            await page.ask(page.client.datastore())
            return
        if not fresh.count:
            fresh.dirs = None  # rows of snapshots are not told as changes
        if not await self._show_totals():
            return
        if self._shown == _LIST:
            await self._list.refresh(fresh)
        elif self._shown == _SIZES:
            await self._sizes.show()
        else:
            await self._times.refresh(fresh)
        await self._tree.refresh(fresh)

    def close(self) -> None:
        """
        Stop listening.
        """
        self._changes.close()
