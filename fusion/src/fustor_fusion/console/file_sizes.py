"""
What takes the space in a directory: as areas for the eye, and as a table for everybody.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from nicegui import ui
from nicegui.events import EChartPointClickEventArguments

from fustor_client.models import SizePart, Sizes
from fustor_fusion.console.file_details import show_details
from fustor_fusion.console.names import visible
from fustor_fusion.console.place import Place, place_link
from fustor_web_ui.formats import count, size
from fustor_web_ui.live_table import LiveColumn, LiveTable, Wanted
from fustor_web_ui.page import Page
from fustor_web_ui.tables import Part

PARTS: Final = 60
_LONGEST: Final = 60
# Dark enough for white letters on each of them.
_COLOURS: Final = ("#1f5fbf", "#14692f", "#7a4300", "#7b2d8b", "#00626b", "#a1281f", "#4a4f9e", "#5c5a00")
_REST: Final = "#5a6270"


class FileSizes:
    """
    The parts of a directory.

    Args:
        page: Where it stands.
        go: Goes to a directory.
    """

    def __init__(self, page: Page, go: Callable[[Place], Awaitable[None]]) -> None:
        self._page = page
        self._go = go
        self._place: Place | None = None
        self._found: Sizes | None = None
        self._drawn: list[tuple[str, int]] = []
        t = page.t
        self._lead = ui.label().classes("console-lead")
        with ui.element("div").classes("sizes"):
            # The table beside it says the same.
            self._frame = ui.element("div").classes("sizes-map").props("aria-hidden=true")
            with self._frame:
                self._map = ui.echart(_options(), on_point_click=self._pick).classes("sizes-chart")
            with ui.element("div").classes("sizes-table entries"):
                self._table: LiveTable[SizePart] = LiveTable(
                    page,
                    t("The largest first"),
                    [
                        LiveColumn(t("Name"), fill=self._name, value=lambda one: one.type),
                        LiveColumn(t("Size"), lambda one: size(one.bytes), is_number=True, shape="is-short"),
                        LiveColumn(t("Share"), self._share, is_number=True, shape="is-short"),
                        LiveColumn(t("Files"), lambda one: count(one.files), is_number=True),
                    ],
                    self._load,
                    key=lambda one: one.path,
                    empty=t("This folder is empty."),
                )

    def enter(self, place: Place) -> None:
        """
        Be in another directory; show it with `show`.
        """
        self._place = place
        self._found = None
        self._table.begin()

    async def show(self) -> None:
        """
        Show what is there now.
        """
        await self._table.show()
        found, t = self._found, self._page.t
        if found is None:
            return
        self._frame.set_visibility(found.bytes > 0)
        self._lead.text = (
            t("{size} in {files} files. Choose a folder to go down.", size=size(found.bytes), files=count(found.files))
            if found.bytes
            else t("Nothing in this folder takes any space.")
        )
        drawn = [(part.path, part.bytes) for part in found.rows] + [("", found.rest.bytes)]
        if drawn != self._drawn:
            self._drawn = drawn
            self._map.options["series"][0]["data"] = self._areas(found)
            self._map.update()

    async def _load(self, wanted: Wanted) -> Part | None:
        place, page = self._place, self._page
        assert place is not None
        found = await page.ask(page.client.sizes(place.asked(place.path), tree=place.tree.tree, limit=PARTS))
        if found is None or place is not self._place:
            return None
        self._found = found
        return Part(found.rows, None)

    def _areas(self, found: Sizes) -> list[dict[str, Any]]:
        areas = [
            {
                "name": _short(visible(part.name) + ("/" if part.type == "dir" else "")),
                "value": part.bytes,
                "itemStyle": {"color": _COLOURS[at % len(_COLOURS)]},
            }
            for at, part in enumerate(found.rows)
            if part.bytes
        ]
        if found.rest.bytes:
            name = self._page.t("{number} others", number=count(found.rest.entries))
            areas.append({"name": name, "value": found.rest.bytes, "itemStyle": {"color": _REST}})
        return areas

    async def _pick(self, event: EChartPointClickEventArguments) -> None:
        """
        Go down into the area that was clicked on. Its number is told, counted from the whole's own, which is 0.
        """
        place, found = self._place, self._found
        if place is None or found is None or not isinstance(event.data_index, int):
            return
        parts = [part for part in found.rows if part.bytes]
        at = event.data_index - 1
        if not 0 <= at < len(parts):
            return
        if parts[at].type == "dir":
            await self._go(place.at(parts[at].path))
        else:
            await show_details(self._page, place, parts[at].path)

    def _name(self, part: SizePart) -> None:
        place = self._place
        assert place is not None
        if part.type == "dir":
            place_link(place.at(part.path), self._go, visible(part.name)).classes("entry-name")
        else:
            ui.label(visible(part.name)).classes("entry-name")

    def _share(self, part: SizePart) -> str:
        whole = 0 if self._found is None else self._found.bytes
        return f"{100 * part.bytes / whole:.1f} %" if whole else ""


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _options() -> dict[str, Any]:
    # Names are drawn on a canvas; there is no tooltip, which would be made of HTML.
    return {
        "animation": False,
        "series": [
            {
                "type": "treemap",
                "roam": False,
                "nodeClick": False,
                "breadcrumb": {"show": False},
                "width": "100%",
                "height": "100%",
                "left": 0,
                "top": 0,
                "visibleMin": 1,
                "itemStyle": {"borderWidth": 1, "gapWidth": 2, "borderColor": "transparent"},
                "label": {"show": True, "color": "#ffffff", "fontSize": 13, "overflow": "truncate"},
                "data": [],
            }
        ],
    }
