"""
A table that is asked again every few seconds and changes in place: what is the same stays untouched, so nothing flickers and nobody loses
their place. The service sorts and cuts; the browser never holds more than a page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from nicegui import ui

from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page
from fustor_web_ui.sort_choice import SortChoice
from fustor_web_ui.tables import Column, Part

R = TypeVar("R")
_NEVER: Final = object()


@dataclass(frozen=True)
class LiveColumn(Column[R]):
    """
    A column of a table that changes in place.

    Attributes:
        sort: What the service calls the order by this column; None = it can't be sorted by.
        value: For a column with `fill`: what its content depends on. It is filled again when that changes.
    """

    sort: str | None = None
    value: Callable[[R], object] | None = None


class Wanted(NamedTuple):
    """
    Which rows a table shows: those behind a cursor (None = from the beginning), in which order.
    """

    cursor: str | None
    sort: str | None
    descending: bool

    @property
    def order(self) -> str:
        """
        The direction as the services call it.
        """
        return "desc" if self.descending else "asc"


@dataclass
class _Cell:
    box: ui.element
    value: object = _NEVER
    label: ui.label | None = None


@dataclass
class _Row:
    element: ui.element
    cells: list[_Cell]


class LiveTable(Generic[R]):
    """
    A table whose headings sort, with buttons for the next and the previous page.

    Args:
        page: Where it stands.
        caption: What is in it, in the person's language.
        columns: Its columns.
        load: Returns the rows that are wanted, or None when that failed and was told.
        key: What tells a row from all others, so that it is known again.
        empty: What to say when there are no rows: why, and what to do.
        sort: The order to begin with.
        descending: Its direction.
    """

    def __init__(
        self,
        page: Page,
        caption: str,
        columns: Sequence[LiveColumn[R]],
        load: Callable[[Wanted], Awaitable[Part | None]],
        *,
        key: Callable[[R], object],
        empty: str,
        sort: str | None = None,
        descending: bool = False,
    ) -> None:
        self._page = page
        self._columns = columns
        self._load = load
        self._key = key
        self._empty = empty
        self._sort = sort
        self._descending = descending
        self._cursors: list[str | None] = [None]
        self._next: str | None = None
        self._asked = 0
        self._rows: dict[object, _Row] = {}
        self._headings: list[tuple[LiveColumn[R], ui.element, ui.icon]] = []
        self._build(caption)

    def _build(self, caption: str) -> None:
        t = self._page.t
        self._orders = {one.sort: one.label for one in self._columns if one.sort is not None}
        with ui.element("div").classes("console-table-box"):
            self._choice = SortChoice(self._page, self.sort_by) if self._orders else None
            self._nothing = ui.label(self._empty).classes("console-empty")
            self._nothing.set_visibility(False)
            self._table = ui.element("table").classes("console-table").props("role=table")
            with self._table:
                with ui.element("caption"):
                    self._caption = ui.label(caption)
                with ui.element("thead"), ui.element("tr").props("role=row"):
                    for column in self._columns:
                        self._heading(column)
                self._body = ui.element("tbody").props("role=rowgroup")
            self._turn = ui.element("nav").classes("console-turn").props(f'aria-label="{t("Pages of the table")}"')
            with self._turn:
                self._previous = action(t("Previous"), Kind.PLAIN, self._back, icon="chevron_left")
                self._number = ui.label("")
                self._following = action(t("Next"), Kind.PLAIN, self._forward, icon="chevron_right")
        self._table.set_visibility(False)
        self._turn.set_visibility(False)
        self._show_order()

    def _heading(self, column: LiveColumn[R]) -> None:
        with (
            ui.element("th").props("scope=col role=columnheader").classes("is-number" if column.is_number else "") as th
        ):
            if column.sort is None:
                ui.label(column.label)
                return
            name = column.sort
            with (
                ui.element("button")
                .props("type=button")
                .classes("console-sort")
                .on("click", lambda: self.sort_by(name))
            ):
                ui.label(column.label)
                icon = ui.icon("unfold_more").props("aria-hidden=true")
        self._headings.append((column, th, icon))

    def caption(self, text: str) -> None:
        """
        Say what is in the table.
        """
        if self._caption.text != text:
            self._caption.set_text(text)

    def empty(self, text: str) -> None:
        """
        Say why there are no rows.
        """
        if self._nothing.text != text:
            self._nothing.set_text(text)

    async def sort_by(self, name: str) -> None:
        """
        Sort by a column; the other way round when it is sorted by that already.
        """
        self._descending = not self._descending if name == self._sort else False
        self._sort = name
        self._show_order()
        await self.restart()

    def _show_order(self) -> None:
        for column, th, icon in self._headings:
            is_it = column.sort == self._sort
            th.props["aria-sort"] = ("descending" if self._descending else "ascending") if is_it else "none"
            icon.props["name"] = ("arrow_downward" if self._descending else "arrow_upward") if is_it else "unfold_more"
        if self._choice is not None:
            self._choice.show(self._orders, self._sort, is_descending=self._descending)

    def begin(self) -> None:
        """
        Be at the first page again, of other rows perhaps; show it with `show`.
        """
        self._asked += 1  # what is under way is not wanted any more
        self._cursors = [None]

    async def restart(self) -> None:
        """
        Show the first page, of other rows perhaps.
        """
        self.begin()
        await self.show()

    async def show(self) -> None:
        """
        Ask for the page of rows that is shown, and show what has changed.
        """
        self._asked += 1
        asked = self._asked
        part = await self._load(Wanted(self._cursors[-1], self._sort, self._descending))
        if part is None or asked != self._asked:
            return  # it failed, or something else was asked for meanwhile
        if not part.rows and len(self._cursors) > 1:
            await self.restart()
            return
        self._next = part.next
        self._show_rows(part.rows)
        self._nothing.set_visibility(not part.rows)
        self._table.set_visibility(bool(part.rows))
        if self._choice is not None:
            self._choice.set_visibility(bool(part.rows))
        self._turn.set_visibility(len(self._cursors) > 1 or self._next is not None)
        self._previous.set_enabled(len(self._cursors) > 1)
        self._following.set_enabled(self._next is not None)
        number = self._page.t("Page {number}", number=len(self._cursors))
        if self._number.text != number:
            self._number.set_text(number)

    def _show_rows(self, rows: Sequence[R]) -> None:
        found = {self._key(row): row for row in rows}
        for key in [key for key in self._rows if key not in found]:
            self._rows.pop(key).element.delete()
        for key, row in found.items():
            shown = self._rows.get(key)
            if shown is None:
                self._rows[key] = shown = self._make(row)
            for column, cell in zip(self._columns, shown.cells, strict=True):
                self._fill(column, cell, row)
        order = [self._rows[key].element for key in found]
        children = self._body.default_slot.children
        if children != order:
            children[:] = order
            self._body.update()

    def _make(self, row: R) -> _Row:
        cells = []
        with self._body, ui.element("tr").props("role=row") as element:
            for column in self._columns:
                box = (
                    ui.element("td")
                    .props("role=cell")
                    .classes(f"{'is-number' if column.is_number else ''} {column.shape}")
                )
                box.props["data-label"] = column.label
                cells.append(_Cell(box))
        return _Row(element, cells)

    @staticmethod
    def _fill(column: LiveColumn[R], cell: _Cell, row: R) -> None:
        if column.fill is not None:
            value = row if column.value is None else column.value(row)
            if value != cell.value:
                cell.value = value
                cell.box.clear()
                with cell.box:
                    column.fill(row)
                _mark_empty(cell.box, is_empty=not cell.box.default_slot.children)
            return
        text = column.text(row)
        if cell.label is None:
            with cell.box:
                cell.label = ui.label(text)
        elif cell.label.text != text:
            cell.label.set_text(text)
        _mark_empty(cell.box, is_empty=not text)

    async def _forward(self) -> None:
        self._cursors.append(self._next)
        await self.show()

    async def _back(self) -> None:
        self._cursors.pop()
        await self.show()


def _mark_empty(box: ui.element, *, is_empty: bool) -> None:
    if is_empty != ("is-empty" in box.classes):
        box.classes(toggle="is-empty")
