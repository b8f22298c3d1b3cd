"""
Making a source, from the kind of it to its name in the configuration: one thing at a time, each tried before the next.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from nicegui import ui

from fustor_agent.console.driver_sentences import BUILT_IN
from fustor_agent.console.source_wizard_checks import ChecksStep
from fustor_agent.console.source_wizard_connection import ConnectionStep
from fustor_agent.console.source_wizard_draft import SourceDraft
from fustor_agent.console.source_wizard_rows import RowsStep
from fustor_agent.console.source_wizard_tables import TablesStep
from fustor_client.agent_models import Driver, DriverDetails
from fustor_client.agent_models import Wizard as DriverSteps
from fustor_core.errors import ConfigError, FustorError, StateConflictError
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.wizard import Step, Wizard

__all__ = ["BUILT_IN", "new_source"]

_MOST_OF_A_NAME = 40


@console_page("/sources/new", "New source")
async def new_source(page: Page) -> None:
    """
    Lead through making a source.
    """
    t = page.t
    ui.label(
        t(
            "A source is where data comes from: a database, or a folder. This takes a few minutes. Fustor's configuration stays as it is until the last step."
        )
    ).classes("console-lead")
    draft = SourceDraft()
    kinds, save = _KindStep(page, draft), _SaveStep(page, draft)
    connection, checks = ConnectionStep(page, draft), ChecksStep(page, draft)
    tables, rows = TablesStep(page, draft), RowsStep(page, draft)
    wizard = Wizard(
        page,
        [
            Step(t("Kind"), kinds.show, heading=t("What do you want to read?")),
            Step(
                t("Connection"),
                connection.show,
                connection.leave,
                t("Continue"),
                heading=t("Where is it, and who reads it?"),
            ),
            Step(t("Checks"), checks.show, checks.leave, t("Continue"), heading=t("Is everything in place?")),
            Step(
                t("What to read"), tables.show, tables.leave, t("Continue"), heading=t("Which tables, which columns?")
            ),
            Step(t("Preview"), rows.show, label=t("Continue"), heading=t("Is this the data that you meant?")),
            Step(t("Save"), save.show, save.leave, t("Save the source"), Kind.START, t("Give it a name")),
        ],
    )
    for step in (kinds, connection, checks, save):
        step.wizard = wizard
    await wizard.go(0)


class _KindStep:
    """
    Which driver.
    """

    wizard: Wizard

    def __init__(self, page: Page, draft: SourceDraft) -> None:
        self._page = page
        self._draft = draft

    async def show(self) -> None:
        """
        Show a card for each driver; choosing one goes on.
        """
        page = self._page
        drivers = await page.ask(page.client.drivers())
        if drivers is None:
            return
        found: list[Driver] = drivers.sources
        if not found:
            ui.label(
                page.t(
                    "No driver for sources is installed: pip install fustor-source-mysql, for example, then restart the agent."
                )
            ).classes("console-empty")
            return
        told = await asyncio.gather(*(self._ask(one) for one in found))
        with ui.element("div").classes("wizard-choices"):
            for driver, (details, steps) in sorted(
                zip(found, told, strict=True), key=lambda one: one[0].error is not None
            ):
                self._card(driver, details, steps)

    async def _ask(self, driver: Driver) -> tuple[DriverDetails | None, DriverSteps]:
        client = self._page.client
        if driver.error is not None:
            return None, DriverSteps()
        details: DriverDetails | None = None
        steps = DriverSteps()
        try:
            details = await client.driver("sources", driver.name)
            steps = await client.wizard("sources", driver.name)
        except FustorError:
            # Its card goes without what it could not say; trying to connect tells what is wrong with it.
            return details, steps
        return details, steps

    def _card(self, driver: Driver, details: DriverDetails | None, steps: DriverSteps) -> None:
        t = self._page.t
        if details is None:
            broken = ui.element("div").classes("q-btn wizard-choice is-broken").props("role=group")
            with broken, ui.element("div").classes("q-btn__content"):
                ui.icon("report_problem").props("aria-hidden=true")
                ui.label(driver.name).classes("wizard-choice-title")
                ui.label(t("This driver can't be used: {reason}", reason=self._page.told(driver.error or ""))).classes(
                    "wizard-choice-about"
                )
            return

        async def choose() -> None:
            self._draft.take_driver(details, steps.title or driver.name, steps.steps)
            await self.wizard.forward()

        card = ui.button(on_click=choose, color=None).props("no-caps unelevated align=left").classes("wizard-choice")
        with card:
            ui.icon(steps.icon or "extension").props("aria-hidden=true")
            ui.label(t(steps.title or driver.name)).classes("wizard-choice-title")
            ui.label(t(steps.about or details.about)).classes("wizard-choice-about")
            if not details.distribution.startswith("fustor-"):
                ui.label(t("from the package {name}", name=details.distribution)).classes("wizard-choice-about")


class _SaveStep:
    """
    Its name, and into the configuration with it.
    """

    wizard: Wizard

    def __init__(self, page: Page, draft: SourceDraft) -> None:
        self._page = page
        self._draft = draft
        self._name = ""
        self._field: Any = None

    async def show(self) -> None:
        """
        Ask for the name, and say once more what will be saved.
        """
        page, draft, t = self._page, self._draft, self._page.t
        if not self._name:
            configuration = await page.ask(page.client.configuration())
            self._name = free_name(
                name_from(draft.uri, draft.driver), {} if configuration is None else configuration.sources
            )
        self._field = (
            ui.input(t("Name of the source"), value=self._name).props("outlined autofocus").classes("console-field")
        )
        self._field.props["hint"] = t("Letters, digits, and - _ . between them.")
        self._field.on("keydown.enter", self.wizard.forward)
        facts = [(t("Kind"), t(draft.title)), (t("Address"), draft.uri)]
        if draft.credential and draft.credential.get("user"):
            facts.append((t("Account"), draft.credential["user"]))
        if draft.choosable:
            facts.append((t("Tables"), self._tables()))
        with ui.element("dl").classes("wizard-facts"):
            for name, value in facts:
                with ui.element("dt"):
                    ui.label(name)
                with ui.element("dd"):
                    ui.label(value)
        if draft.credential:
            ui.label(
                t(
                    "The password goes into the agent's configuration file, which only the agent's own account can read. To keep it out of the file, "
                    "write ${NAME} for an environment variable, or file:/path, in place of the password.",
                )
            ).classes("console-lead")

    def _tables(self) -> str:
        t, choice = self._page.t, self._draft.choice
        told = t("all, also those made later") if choice.everything else t("{number} chosen", number=len(choice.tables))
        left_out = sum(map(len, choice.without.values()))
        return told if not left_out else f"{told}; {t('columns left out: {number}', number=left_out)}"

    async def leave(self) -> bool:
        """
        Save it, and say how to go on.
        """
        page, t = self._page, self._page.t
        self._name = str(self._field.value or "").strip()
        if not self._name:
            self._field.error = t("This is needed.")
            return False
        made = await page.attempt(page.client.create_config("sources", self._name, self._draft.entry()))
        if made is None:
            return False
        if isinstance(made, StateConflictError | ConfigError) and set(made.context) & {"id"}:
            self._field.error = page.told_with(made.message, made.hint)
            return False
        if isinstance(made, FustorError):
            page.tell(made)
            return False
        self._done()
        return False

    def _done(self) -> None:
        page, t = self._page, self._page.t
        self._draft.credential = None
        box = self._field.parent_slot.parent
        box.clear()
        self.wizard.finish()
        with box:
            ui.label(t("The source {name} is saved.", name=self._name)).props('role=heading aria-level="2"').classes(
                "console-subtitle"
            )
            ui.label(t("Nothing is read yet: a sync says where the data goes.")).classes("console-lead")
            with ui.element("div").classes("console-bar"):
                action(
                    t("Make a sync with it"),
                    Kind.START,
                    lambda: page.go("/syncs/new", source=self._name),
                    icon="arrow_forward",
                ).classes("act-primary").props("autofocus")
                action(t("All sources"), Kind.PLAIN, lambda: page.go("/sources"))


def name_from(uri: str, driver: str) -> str:
    """
    Return a name for what is at an address: the last part of it, else the driver's.
    """
    last = re.sub(r"[^A-Za-z0-9]+", "-", uri.rstrip("/").rpartition("/")[2]).strip("-").lower()
    is_name = (bool(re.search("[a-z]", last)) and "://" in uri) or uri.startswith("/")
    return last[:_MOST_OF_A_NAME].strip("-") if last and is_name else driver


def free_name(wanted: str, taken: Any) -> str:
    """
    Return a name that nothing has yet.
    """
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name
