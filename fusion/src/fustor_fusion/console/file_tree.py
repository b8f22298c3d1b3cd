"""
The folders of a tree, each opened when somebody wants to look into it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from nicegui import ui

from fustor_client.models import FileEntry
from fustor_fusion.console.file_changes import Fresh
from fustor_fusion.console.place import Place, place_link
from fustor_web_ui.page import Page

_AT_ONCE: Final = 50
_MOST: Final = 500


class FileTree:
    """
    The folders of one tree at a time.

    Args:
        page: Where it stands.
        go: Goes to a directory.
    """

    def __init__(self, page: Page, go: Callable[[Place], Awaitable[None]]) -> None:
        self._page = page
        self._go = go
        self._nodes: dict[str, _Node] = {}
        self._top: Place | None = None
        self._current: _Node | None = None
        self._list = ui.element("ul").classes("tree")

    async def show(self, place: Place) -> None:
        """
        Mark a directory, and open all that it is in.
        """
        top = place.at("")
        if top != self._top:
            self._top = top
            self._list.clear()
            self._nodes = {}
            self._current = None
            with self._list:
                self.add(top)
        for parent in place.parents:
            node = self._nodes.get(parent.path)
            if node is None:
                break
            await node.open()
            below = place.path[len(parent.path) + 1 if parent.path else 0 :].split("/")[0]
            node.need(below)
        if self._current is not None:
            self._current.mark(False)
        self._current = self._nodes.get(place.path)
        if self._current is not None:
            self._current.mark(True)
            if not place.path:
                await self._current.open()

    async def refresh(self, fresh: Fresh) -> None:
        """
        Look again into the folders that are open and in which folders came or went.
        """
        for path, node in list(self._nodes.items()):
            if node.is_open and (fresh.dirs is None or path in fresh.folders):
                await node.load()

    def add(self, place: Place) -> None:
        """
        Put a folder where the caller stands.
        """
        self._nodes[place.path] = _Node(self, self._page, place, self._go)

    def drop(self, path: str) -> None:
        """
        Forget a folder, and those in it.
        """
        for name in [name for name in self._nodes if name == path or name.startswith(f"{path}/")]:
            node = self._nodes.pop(name)
            if node is self._current:
                self._current = None
            if name == path:
                node.item.delete()

    def item(self, path: str) -> ui.element:
        """
        Return what stands for a folder.
        """
        return self._nodes[path].item

    def knows(self, path: str) -> bool:
        """
        Tell whether a folder is shown.
        """
        return path in self._nodes


class _Node:
    def __init__(self, tree: FileTree, page: Page, place: Place, go: Callable[[Place], Awaitable[None]]) -> None:
        self._tree = tree
        self._page = page
        self._place = place
        self._shown = _AT_ONCE
        self._names: list[str] = []
        self._extra: set[str] = set()
        self.is_open = False
        self.item = ui.element("li")
        with self.item:
            with ui.element("div").classes("tree-row"):
                self._toggle = (
                    ui.button(icon="chevron_right", on_click=self.toggle, color=None)
                    .props("flat round dense size=sm")
                    .classes("tree-toggle")
                )
                self._toggle.props["aria-expanded"] = "false"
                self._toggle.props["aria-label"] = page.t("What is in {name}", name=place.name)
                ui.icon("folder").classes("tree-icon").props("aria-hidden=true")
                self._link = place_link(place, go).classes("tree-name")
            self._below = ui.element("ul")
            self._below.set_visibility(False)
        with self._below:
            with ui.element("li") as self._more:
                ui.button(page.t("Show more"), on_click=self._show_more, color=None).props("flat dense no-caps size=sm")
            with ui.element("li") as self._note:
                self._text = ui.label().classes("flow-soft")
        self._more.set_visibility(False)
        self._note.set_visibility(False)

    def mark(self, is_here: bool) -> None:
        """
        Show that somebody is there, or not.
        """
        if is_here:
            self._link.props["aria-current"] = "true"
        else:
            self._link.props.pop("aria-current", None)
        self._link.update()

    async def toggle(self) -> None:
        """
        Open it when it is closed, and the other way round.
        """
        if self.is_open:
            self._set_open(False)
        else:
            await self.open()

    async def open(self) -> None:
        """
        Show the folders in it.
        """
        if not self.is_open:
            self._set_open(True)
            await self.load()

    def _set_open(self, is_open: bool) -> None:
        self.is_open = is_open
        self._toggle.props["aria-expanded"] = "true" if is_open else "false"
        self._toggle.props["icon"] = "expand_more" if is_open else "chevron_right"
        self._toggle.update()
        self._below.set_visibility(is_open)

    async def _show_more(self) -> None:
        self._shown = min(_MOST, self._shown + _AT_ONCE)
        await self.load()

    async def load(self) -> None:
        """
        Ask for the folders in it, and show them.
        """
        place, page = self._place, self._page
        found = await page.ask(
            page.client.tree(
                place.asked(place.path), tree=place.tree.tree, type="dir", sort="name", order="asc", limit=self._shown
            )
        )
        if found is None:
            return
        self._show(found.children or [])
        self._more.set_visibility(found.next is not None and self._shown < _MOST)
        is_cut = found.next is not None and self._shown >= _MOST
        self._note.set_visibility(is_cut or not self._names)
        self._text.text = page.t("There are more: search for them.") if is_cut else page.t("no folders")

    def need(self, name: str) -> None:
        """
        Have a folder among those that are shown, though it is behind the first ones.
        """
        path = f"{self._place.path}/{name}" if self._place.path else name
        if name and not self._tree.knows(path):
            self._extra.add(name)
            self._show([FileEntry(path, name, type="dir") for path, name in self._paths()])

    def _paths(self) -> list[tuple[str, str]]:
        top = f"{self._place.path}/" if self._place.path else ""
        return [(top + name, name) for name in self._names]

    def _show(self, entries: list[FileEntry]) -> None:
        top = f"{self._place.path}/" if self._place.path else ""
        names = sorted({entry.name for entry in entries} | self._extra)
        for name in [name for name in self._names if name not in names]:
            self._tree.drop(top + name)
        with self._below:
            for name in names:
                if not self._tree.knows(top + name):
                    self._tree.add(self._place.at(top + name))
        self._names = names
        children = self._below.default_slot.children
        wanted = [*(self._tree.item(top + name) for name in names), self._more, self._note]
        if children != wanted:
            children[:] = wanted
            self._below.update()
        self._note.set_visibility(not names)
