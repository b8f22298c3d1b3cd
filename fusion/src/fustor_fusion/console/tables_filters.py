"""
Which rows of a table are wanted: conditions that are put together from lists, so that nobody has to know how they are written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from nicegui import ui

from fustor_client.models import TableInfo
from fustor_fusion.console.names import visible
from fustor_fusion.console.tables_cells import is_number, type_name
from fustor_fusion.console.tables_export import Condition
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page

_NULL, _THERE = "isnull", "notnull"
_TEXT: Final = {
    "contains": "contains",
    "eq": "is",
    "ne": "is not",
    "lt": "is before (in order)",
    "gt": "is behind (in order)",
    _NULL: "is NULL",
    _THERE: "is not NULL",
}
_NUMBER: Final = {
    "eq": "=",
    "ne": "≠",
    "lt": "<",
    "le": "≤",
    "gt": ">",
    "ge": "≥",
    "contains": "contains",
    _NULL: "is NULL",
    _THERE: "is not NULL",
}
_TIME: Final = {
    "ge": "is at or after",
    "lt": "is before",
    "eq": "is exactly",
    "contains": "contains",
    _NULL: "is NULL",
    _THERE: "is not NULL",
}
_BOOLEAN: Final = {"eq": "is", "ne": "is not", _NULL: "is NULL", _THERE: "is not NULL"}
_EXAMPLES: Final = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T08:00:00Z",
    "local-date-time": "2026-01-31 08:00",
    "time": "08:30",
    "mysql-time": "08:30",
    "duration": "P1DT2H",
    "boolean": "true",
}
MOST: Final = 10


def operators(schema: Any) -> dict[str, str]:
    """
    Return what values of a column can be compared by: operator to English.
    """
    kind = type_name(schema)
    if kind == "boolean":
        return _BOOLEAN
    if is_number(schema):
        return _NUMBER
    return _TIME if kind in _EXAMPLES else _TEXT


class Filters:
    """
    The conditions, and the form that adds one.

    Args:
        page: Where they stand.
        info: The table.
        where: Those to begin with.
        changed: Called when others are wanted.
    """

    def __init__(
        self, page: Page, info: TableInfo, where: list[Condition], changed: Callable[[], Awaitable[None]]
    ) -> None:
        self._page = page
        self._changed = changed
        self._columns: dict[str, Any] = dict(info.columns or {})
        self.where = where
        t = page.t
        names = self._names()
        first = next(iter(names), None)
        with ui.element("form").classes("filter-form").props(f'role=search aria-label="{t("Filter")}"') as form:
            self._column = ui.select(names, label=t("Column"), value=first, on_change=self._choose_column)
            self._column.props("outlined dense options-dense").classes("filter-column")
            self._operator = ui.select({}, label=t("Condition")).props("outlined dense options-dense")
            self._operator.classes("filter-operator").on_value_change(self._choose_operator)
            self._value = ui.input(t("Value")).props("outlined dense maxlength=1000").classes("filter-value")
            self._add = action(t("Add filter"), Kind.PLAIN, self._take, icon="filter_alt")
            self._add.props("type=submit")
        form.on("submit.prevent", lambda: None)
        self._value.on("keydown.enter", self._take)
        self._chips = ui.element("ul").classes("filter-chips").props(f'aria-label="{t("Filters")}"')
        self._choose_column()
        self._show()

    def _names(self) -> dict[str, str]:
        return {name: visible(name) for name in self._columns}

    def follow(self, columns: dict[str, Any]) -> None:
        """
        Take note of other columns.
        """
        if columns != self._columns:
            self._columns = dict(columns)
            value = self._column.value if self._column.value in columns else next(iter(columns), None)
            self._column.set_options(self._names(), value=value)

    def _choose_column(self) -> None:
        schema = self._columns.get(self._column.value or "")
        there = {op: self._page.t(english) for op, english in operators(schema).items()}
        value = self._operator.value if self._operator.value in there else next(iter(there))
        self._operator.set_options(there, value=value)
        example = _EXAMPLES.get(type_name(schema), "")
        self._value.props["placeholder"] = example
        self._choose_operator()

    def _choose_operator(self) -> None:
        self._value.set_visibility(self._operator.value not in (_NULL, _THERE))

    async def _take(self) -> None:
        column, op = self._column.value, self._operator.value
        if column is None or op is None or len(self.where) >= MOST:
            return
        if op in (_NULL, _THERE):
            condition = (column, "isnull", "true" if op == _NULL else "false")
        else:
            condition = (column, op, self._value.value or "")
        if condition not in self.where:
            self.where.append(condition)
        self._value.set_value("")
        self._show()
        await self._changed()

    async def _remove(self, condition: Condition) -> None:
        self.where.remove(condition)
        self._show()
        await self._changed()

    async def withdraw(self) -> None:
        """
        Take the newest condition back: it can't be followed.
        """
        if self.where:
            self.where.pop()
            self._show()
            await self._changed()

    def _show(self) -> None:
        self._add.set_enabled(len(self.where) < MOST)
        self._chips.clear()
        self._chips.set_visibility(bool(self.where))
        with self._chips:
            for condition in self.where:
                said = self._said(condition)
                with ui.element("li").classes("filter-chip"):
                    ui.label(said)
                    remove = ui.button(icon="close", color=None, on_click=lambda one=condition: self._remove(one))
                    remove.props("flat round dense size=sm")
                    remove.props["aria-label"] = self._page.t("Remove the filter {filter}", filter=said)

    def _said(self, condition: Condition) -> str:
        column, op, value = condition
        if op == "isnull":
            return f"{visible(column)} {self._page.t('is NULL' if value == 'true' else 'is not NULL')}"
        english = operators(self._columns.get(column)).get(op, op)
        return f"{visible(column)} {self._page.t(english)} {visible(value) if value else '“”'}"
