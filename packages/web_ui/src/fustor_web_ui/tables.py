"""
A table of what the service knows, one page of rows at a time: the service cuts, the browser never holds more. On narrow screens each row
becomes a card.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from nicegui import ui

from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page

R = TypeVar("R")


@dataclass(frozen=True)
class Column(Generic[R]):
    """
    One column.

    Attributes:
        label: In the person's language.
        text: What a row shows in it.
        fill: Makes the cell's content instead, inside the cell.
        is_number: Aligned to the right.
        shape: How the text is broken into lines, for the style sheet: "is-short" never, "is-long" anywhere.
    """

    label: str
    text: Callable[[R], str] = lambda row: ""
    fill: Callable[[R], None] | None = None
    is_number: bool = False
    shape: str = ""


class Part(NamedTuple):
    """
    Part of the rows, and the cursor that goes on behind them; None = those were the last.
    """

    rows: Sequence[Any]
    next: str | None


class PagedTable(Generic[R]):
    """
    A table with its buttons for the next and the previous page.

    Args:
        page: Where it stands.
        caption: What is in it, in the person's language.
        columns: Its columns.
        load: Returns the rows behind a cursor (None = from the beginning), or None when that failed and was told.
        empty: What to say when there are no rows: why, and what to do.
    """

    def __init__(
        self,
        page: Page,
        caption: str,
        columns: Sequence[Column[R]],
        load: Callable[[str | None], Awaitable[Part | None]],
        *,
        empty: str,
    ) -> None:
        self._page = page
        self._caption = caption
        self._columns = columns
        self._load = load
        self._empty = empty
        self._cursors: list[str | None] = [None]
        self._next: str | None = None
        self._box = ui.element("div").classes("console-table-box")
        self._shown: Part | None = None

    async def show(self) -> None:
        """
        Load the page of rows that is shown, and show it anew.
        """
        self._shown = None
        await self.refresh()

    async def refresh(self) -> None:
        """
        Load the page of rows that is shown, and show it anew if a row has changed: focus and selection stay where nothing has.
        """
        part = await self._load(self._cursors[-1])
        if part is None or part == self._shown:
            return
        self._shown = part
        self._next = part.next
        self._box.clear()
        with self._box:
            if not part.rows and len(self._cursors) == 1:
                ui.label(self._empty).classes("console-empty")
                return
            self._rows(part.rows)
            self._turn()

    async def restart(self) -> None:
        """
        Show the first page, of other rows perhaps.
        """
        self._cursors = [None]
        await self.show()

    async def after(self, change: Awaitable[Any], done: str, **values: Any) -> bool:
        """
        Make a change, say that it is done, and show the rows as they are then. Returns whether it was made; if not, that is told.

        Args:
            change: What to do.
            done: English: what to say then.
            values: What its `{names}` stand for.
        """
        if await self._page.act(change, done, **values) is None:
            return False
        await self.show()
        return True

    def _rows(self, rows: Sequence[R]) -> None:
        with ui.element("table").classes("console-table").props("role=table"):
            with ui.element("caption"):
                ui.label(self._caption)
            with ui.element("thead"), ui.element("tr").props("role=row"):
                for column in self._columns:
                    with (
                        ui.element("th")
                        .props("scope=col role=columnheader")
                        .classes("is-number" if column.is_number else "")
                    ):
                        ui.label(column.label)
            with ui.element("tbody").props("role=rowgroup"):
                for row in rows:
                    with ui.element("tr").props("role=row"):
                        for column in self._columns:
                            self._cell(column, row)

    def _cell(self, column: Column[R], row: R) -> None:
        cell = ui.element("td").props("role=cell").classes(f"{'is-number' if column.is_number else ''} {column.shape}")
        cell.props["data-label"] = column.label
        with cell:
            if column.fill is not None:
                column.fill(row)
            elif text := column.text(row):
                ui.label(text)
        if not cell.default_slot.children:
            cell.classes("is-empty")

    def _turn(self) -> None:
        if len(self._cursors) == 1 and self._next is None:
            return
        with ui.element("nav").classes("console-turn").props(f'aria-label="{self._page.t("Pages of the table")}"'):
            back = action(self._page.t("Previous"), Kind.PLAIN, self._back, icon="chevron_left")
            back.set_enabled(len(self._cursors) > 1)
            ui.label(self._page.t("Page {number}", number=len(self._cursors)))
            forward = action(self._page.t("Next"), Kind.PLAIN, self._forward, icon="chevron_right")
            forward.set_enabled(self._next is not None)

    async def _forward(self) -> None:
        self._cursors.append(self._next)
        await self.show()

    async def _back(self) -> None:
        self._cursors.pop()
        await self.show()


def slices(
    page: Page, load: Callable[[], Awaitable[Sequence[R]]], *, rows_at_once: int = 50
) -> Callable[[str | None], Awaitable[Part | None]]:
    """
    Return what cuts a list that the service gives whole.
    """

    async def part(cursor: str | None) -> Part | None:
        rows = await page.ask(load())
        if rows is None:
            return None
        begin = int(cursor or 0)
        end = begin + rows_at_once
        return Part(rows[begin:end], str(end) if end < len(rows) else None)

    return part
