"""
The order of a table where its headings are not shown: a list of columns, and a button that turns the order round.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from nicegui import ui

from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page

_ICONS: Final = {False: "arrow_upward", True: "arrow_downward"}
_WORDS: Final = {False: "Ascending: turn it round", True: "Descending: turn it round"}


class SortChoice:
    """
    What narrow screens have instead of headings that sort.

    Args:
        page: Where it stands.
        sort_by: Sorts by a column; the other way round when it is the one that is sorted by.
    """

    def __init__(self, page: Page, sort_by: Callable[[str], Awaitable[None]]) -> None:
        self._page = page
        self._sort_by = sort_by
        self._box = ui.element("div").classes("console-order")
        with self._box:
            self._choice = (
                ui.select({}, label=page.t("Sort by"), on_change=lambda event: self._choose(event.value))
                .props("outlined dense options-dense")
                .classes("console-order-by")
            )
            self._turn = action("", Kind.PLAIN, self._turn_round, icon=_ICONS[False])
        self._sort: str | None = None
        self._is_descending: bool | None = None

    def show(self, orders: dict[str, str], sort: str | None, *, is_descending: bool) -> None:
        """
        Show an order.

        Args:
            orders: Names of the orders to what they are called.
            sort: The one that is; None = none of them.
            is_descending: Its direction.
        """
        self._sort = sort
        if self._choice.options != orders or self._choice.value != sort:
            self._choice.set_options(orders, value=sort)
        self._turn.set_enabled(sort is not None)
        if is_descending != self._is_descending:
            self._is_descending = is_descending
            said = self._page.t(_WORDS[is_descending])
            self._turn.props["aria-label"] = self._turn.props["title"] = said
            self._turn.set_icon(_ICONS[is_descending])

    def set_visibility(self, is_shown: bool) -> None:
        """
        Be there, or not.
        """
        self._box.set_visibility(is_shown)

    async def _choose(self, name: str | None) -> None:
        if name is not None and name != self._sort:
            await self._sort_by(name)

    async def _turn_round(self) -> None:
        if self._sort is not None:
            await self._sort_by(self._sort)
