"""
Where somebody is in a file tree, and links that lead there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from nicegui import ui

from fustor_client.models import Tree
from fustor_fusion.console.names import visible
from fustor_web_ui.page import target

ICONS: Final = {"dir": "folder", "file": "description", "symlink": "link", "other": "settings_input_component"}
_PLAIN_CLICK: Final = "(e) => { if (e.ctrlKey || e.metaKey || e.shiftKey) return; e.preventDefault(); emit(); }"


@dataclass(frozen=True)
class Place:
    """
    A directory of a tree.

    Attributes:
        tree: The tree.
        path: Below its root; "" = the root.
        is_shared: Whether its sync sends other trees as well, so that its id alone does not tell which one is meant.
    """

    tree: Tree
    path: str = ""
    is_shared: bool = False

    def at(self, path: str) -> Place:
        """
        Return another place in the same tree.
        """
        return Place(self.tree, path, self.is_shared)

    def asked(self, path: str) -> str:
        """
        Return a path as the service is asked for it: of a tree that its id does not tell, the absolute one.
        """
        if not self.is_shared:
            return path
        root = self.tree.root
        top = (unquote(urlsplit(root).path) if "://" in root else root).rstrip("/")
        return f"{top}/{path}" if path else top or "/"

    @property
    def address(self) -> str:
        """
        The address of the page that shows it.
        """
        query = {"tree": self.tree.tree}
        if self.is_shared:
            query["root"] = self.tree.root
        if self.path:
            query["path"] = self.path
        return target("/files", **query)

    @property
    def name(self) -> str:
        """
        What it is called.
        """
        return visible(self.path.rpartition("/")[2]) if self.path else root_name(self.tree)

    @property
    def parents(self) -> list[Place]:
        """
        The directories that it is in, the root first.
        """
        parts = self.path.split("/") if self.path else []
        return [self.at("/".join(parts[:depth])) for depth in range(len(parts))]


def root_name(tree: Tree) -> str:
    """
    Return what the root of a tree is called.
    """
    return visible(unquote(tree.root.rstrip("/").rpartition("/")[2]) or tree.root)


def place_link(place: Place, go: Callable[[Place], Awaitable[None]], text: str | None = None) -> ui.link:
    """
    Make a link to a directory. A plain click goes there within the page; every other opens its address, as with any link.
    """
    link = ui.link(place.name if text is None else text, place.address)
    link.on("click", lambda: go(place), js_handler=_PLAIN_CLICK)
    return link
