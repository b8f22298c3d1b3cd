"""
The grid that rows of a table stand in: one element for the browser, whatever the number of its cells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypedDict

from nicegui.element import Element
from nicegui.events import GenericEventArguments

from fustor_fusion.console.tables_cells import Cell


class Heading(TypedDict, total=False):
    """
    A column. `sort` is none, ascending or descending; without it the column can't be sorted by.
    """

    name: str
    label: str
    type: str
    is_number: bool
    is_key: bool
    sort: str


class Line(TypedDict, total=False):
    """
    A row.

    Attributes:
        key: What tells it from the others.
        name: What it is called.
        title: The same with the names of the key's columns, for the card that it is on narrow screens.
        cells: Text, class, and whether there is more of it.
        state: new, changed or deleted.
        note: What that is called.
        fresh: Which cells have just changed.
    """

    key: str
    name: str
    title: str
    cells: list[Cell]
    state: str
    note: str
    fresh: list[int]


class Grid(Element, component="tables_grid.js"):
    """
    The grid.

    Args:
        label: What is in it, for who can't see that.
        words: What its buttons are called: `row`, `open`, `whole`, `key`. None: there is nothing to open, and long values have lines.
        sort: Called with the number of a column whose heading is pressed.
        show: Called with the key of a row that is to be shown whole, and the number of a column, or -1.
    """

    def __init__(
        self,
        label: str,
        words: dict[str, str] | None = None,
        *,
        sort: Callable[[int], Any] | None = None,
        show: Callable[[str, int], Any] | None = None,
    ) -> None:
        super().__init__()
        self._props["label"] = label
        self._props["caption"] = ""
        self._props["words"] = words or {}
        self._props["columns"] = []
        self._props["rows"] = []
        if sort is not None:
            self.on("sort", lambda event: sort(_number(event)))
        if show is not None:
            self.on("open", lambda event: show(str(event.args[0]), int(event.args[1])))

    def fill(self, caption: str, columns: Sequence[Heading], rows: Sequence[Line]) -> None:
        """
        Show rows; nothing is sent when they are the same.
        """
        lines = [{**row, "cells": [list(one) for one in row["cells"]]} for row in rows]
        new = {"caption": caption, "columns": list(columns), "rows": lines}
        if any(self._props[name] != value for name, value in new.items()):
            for name, value in new.items():
                self._props[name] = value
            self.update()


def _number(event: GenericEventArguments) -> int:
    return int(event.args[0] if isinstance(event.args, list) else event.args)
