"""
The page on which a pusher is made: which driver, where to, with what credential; tried before it is saved.
"""

from __future__ import annotations

from typing import Any, Final

from nicegui import ui

from fustor_agent.console.connection_test import ConnectionTest
from fustor_agent.console.entry_fields import EntryFields, address_key, asked_for
from fustor_agent.console.entry_form import blame, save
from fustor_client.agent_models import Driver
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page, console_page

_FIRST: Final = "fusion"


@console_page("/pushers/new", "New pusher")
async def new_pusher(page: Page, then: str | None = None) -> None:
    """
    Make a pusher; with `then=sync`, go on to a sync with it.
    """
    await _NewPusher(page, is_for_sync=then == "sync").show()


class _NewPusher:
    def __init__(self, page: Page, *, is_for_sync: bool) -> None:
        self._page = page
        self._is_for_sync = is_for_sync
        self._schema: dict[str, Any] = {}
        self._drivers: dict[str, Driver] = {}
        self._taken: set[str] = set()
        self._revision: int | None = None

    async def show(self) -> None:
        """
        Show the form.
        """
        page, t = self._page, self._page.t
        drivers = await page.ask(page.client.drivers())
        schema = await page.ask(page.client.config_schema())
        configuration = await page.ask(page.client.configuration())
        if drivers is None or schema is None or configuration is None:
            return
        self._schema, self._taken, self._revision = schema, set(configuration.pushers), configuration.revision
        self._drivers = {driver.name: driver for driver in drivers.pushers if driver.error is None}
        broken = [driver for driver in drivers.pushers if driver.error is not None]
        if not self._drivers:
            ui.label(
                t(
                    "No driver for pushers is installed. Install one, such as fustor-pusher-fusion, and start the agent again."
                )
            ).classes("console-empty")
            return
        ui.label(t("A pusher delivers to a consumer what syncs read. Several syncs may use the same one.")).classes(
            "console-lead"
        )
        first = _FIRST if _FIRST in self._drivers else next(iter(self._drivers))
        with ui.element("section").classes("console-card entry-form"):
            self._wrong = ui.element("div").classes("trouble")
            self._wrong.visible = False
            self._driver = ui.select(
                {name: t(driver.title) for name, driver in self._drivers.items()},
                label=t("Driver"),
                value=first,
                on_change=self._choose,
            )
            self._driver.props("outlined").classes("console-field")
            for driver in broken:
                ui.label(
                    t("{name} can't be used: {reason}", name=driver.name, reason=page.told(driver.error or ""))
                ).classes("entry-told")
            # With its value from the start: set later it might overwrite what somebody fast has typed already.
            self._id = (
                ui.input(t("Name"), value=self._free_name(first)).props("outlined autofocus").classes("console-field")
            )
            self._form = ui.element("div")
            self._test = ConnectionTest(page, "pushers")
            with ui.element("div").classes("console-actions"):
                self._test.button(self._try)
                action(t("Cancel"), Kind.PLAIN, lambda: page.go("/pushers"))
                action(t("Save"), Kind.START, self._save, icon="save")
        await self._choose()

    def _free_name(self, name: str) -> str:
        return name if name not in self._taken else f"{name}-2"

    async def _choose(self) -> None:
        name = str(self._driver.value)
        wizard = await self._page.ask(self._page.client.wizard("pushers", name))
        asked = {} if wizard is None else asked_for(wizard)
        address = asked.get(address_key("pushers"), {})
        given: dict[str, Any] = {"driver": name}
        if "default" in address:
            given[address_key("pushers")] = address["default"]
        if not self._id.value or self._id.value.removesuffix("-2") in self._drivers:
            self._id.value = self._free_name(name)
        self._test.forget()
        self._form.clear()
        with self._form:
            self._fields = EntryFields(
                self._page,
                self._schema,
                "pushers",
                given,
                address=address,
                credential="key" if "credential" in asked else "none",
            )

    async def _try(self) -> None:
        entry = self._fields.take()
        if entry is not None:
            await self._test.run(str(self._driver.value), entry)

    async def _save(self) -> None:
        page = self._page
        self._wrong.visible = False
        name = (self._id.value or "").strip()
        self._id.error = None if name else page.t("This is needed.")
        entry = self._fields.take()
        if entry is None or not name:
            return
        made = page.client.create_config(
            "pushers", name, {**entry, "driver": str(self._driver.value), "disabled": False}, if_revision=self._revision
        )
        if not await save(page, made, lambda problem: blame(page, self._fields, self._wrong, problem)):
            return
        if self._is_for_sync:
            page.go("/syncs/new", pusher=name)
        else:
            page.go("/pushers")
