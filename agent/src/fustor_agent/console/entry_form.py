"""
The pages on which one source, pusher or sync is changed or copied, and a pusher is made. What is wrong is said beside its field, in the
agent's own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from nicegui import ui

from fustor_agent.console.changes import change, problems_of, say_it_waits
from fustor_agent.console.connection_test import ConnectionTest
from fustor_agent.console.driver_sentences import driver_titles
from fustor_agent.console.entries import Section
from fustor_agent.console.entry_fields import Entry, EntryFields, address_schema, read, written
from fustor_client.agent_models import Configuration
from fustor_core.errors import FustorError, InvalidRequest, PreconditionFailed, Unauthorized
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page, console_page

_OURS: Final = ("id", "problems", "dependants")


@console_page("/sources/{name}/edit", "Edit source: {name}")
async def edit_source(page: Page, name: str) -> None:
    """
    Change a source.
    """
    await _EntryForm(page, "sources", name, is_copy=False).show()


@console_page("/pushers/{name}/edit", "Edit pusher: {name}")
async def edit_pusher(page: Page, name: str) -> None:
    """
    Change a pusher.
    """
    await _EntryForm(page, "pushers", name, is_copy=False).show()


@console_page("/syncs/{name}/text", "Edit sync as text: {name}")
async def edit_sync(page: Page, name: str) -> None:
    """
    Change a sync as it stands in the file.
    """
    await _EntryForm(page, "syncs", name, is_copy=False).show()


@console_page("/sources/{name}/clone", "Clone source: {name}")
async def clone_source(page: Page, name: str) -> None:
    """
    Copy a source, and change the copy.
    """
    await _EntryForm(page, "sources", name, is_copy=True).show()


@console_page("/pushers/{name}/clone", "Clone pusher: {name}")
async def clone_pusher(page: Page, name: str) -> None:
    """
    Copy a pusher, and change the copy.
    """
    await _EntryForm(page, "pushers", name, is_copy=True).show()


@console_page("/syncs/{name}/clone", "Clone sync: {name}")
async def clone_sync(page: Page, name: str) -> None:
    """
    Copy a sync, and change the copy.
    """
    await _EntryForm(page, "syncs", name, is_copy=True).show()


class _EntryForm:
    def __init__(self, page: Page, section: Section, name: str, *, is_copy: bool) -> None:
        self._page = page
        self._section: Section = section
        self._name = name
        self._is_copy = is_copy
        self._fields: EntryFields | None = None
        self._text: ui.textarea | None = None
        self._configuration = Configuration()
        self._entry: Entry = {}
        self._address: dict[str, Any] = {}

    async def show(self) -> None:
        """
        Show the form, filled in with what is there.
        """
        page, t = self._page, self._page.t
        configuration = await page.ask(page.client.configuration())
        schema = await page.ask(page.client.config_schema())
        if configuration is None or schema is None:
            return
        self._configuration = configuration
        entries: dict[str, Entry] = getattr(configuration, self._section)
        if self._name not in entries:
            ui.label(t("{name} is not there. It may have been deleted.", name=self._name)).classes("console-empty")
            return
        self._entry = {key: value for key, value in entries[self._name].items() if key not in _OURS}
        titles: dict[str, str] = {}
        if self._section != "syncs":
            titles = (await page.ask(driver_titles(page)) or {}).get(self._section, {})
            self._address = await address_schema(page, self._section, str(self._entry.get("driver") or ""))
        with ui.element("section").classes("console-card entry-form"):
            if driver := self._entry.get("driver"):
                title = titles.get(str(driver), str(driver))
                ui.label(t("Driver: {name}", name=title)).classes("console-lead")
            self._wrong = ui.element("div").classes("trouble")
            self._wrong.visible = False
            if self._is_copy:
                self._id = ui.input(t("Name of the copy"), value=self._free_name(entries))
                self._id.props("outlined autofocus").classes("console-field")
                self._takes_place = ui.checkbox(t("Let it take the place of {name}", name=self._name))
                ui.label(
                    t("The syncs then use the copy. The old one stays, disabled, and can be enabled again.")
                ).classes("entry-told")
            self._form = ui.element("div")
            self._show_fields(schema)
            self._test = ConnectionTest(page, self._section)
            with ui.element("div").classes("console-actions"):
                if self._section != "syncs":
                    self._switch = action(
                        t("Edit as text"), Kind.PLAIN, lambda: self._switch_to_text(schema), icon="notes"
                    ).classes("entry-switch")
                    self._test.button(self._try)
                action(t("Cancel"), Kind.PLAIN, lambda: page.go(f"/{self._section}"))
                action(t("Save"), Kind.START, self._save, icon="save")
        for problem in entries[self._name]["problems"] if not self._is_copy else ():
            self._blame(problem)

    def _free_name(self, entries: Mapping[str, Entry]) -> str:
        number = 2
        while f"{self._name}-{number}" in entries:
            number += 1
        return f"{self._name}-{number}"

    def _show_fields(self, schema: Mapping[str, Any]) -> None:
        self._form.clear()
        with self._form:
            if self._section == "syncs":
                self._show_text(self._entry)
            else:
                self._fields = EntryFields(self._page, schema, self._section, self._entry, address=self._address)

    def _show_text(self, entry: Entry) -> None:
        t = self._page.t
        self._fields = None
        self._text = (
            ui.textarea(t("As it stands in the file"), value=written(entry))
            .props("outlined autogrow")
            .classes("console-field is-code is-wide")
        )
        self._text.props["hint"] = t("A secret shows as *** and stays what it is.")
        self._text.classes("has-hint")

    def _switch_to_text(self, schema: Mapping[str, Any]) -> None:
        given = self._given()
        if given is None:
            return
        self._entry = given
        if self._fields is None:
            self._text = None
            self._show_fields(schema)
            self._switch.text = self._page.t("Edit as text")
        else:
            self._form.clear()
            with self._form:
                self._show_text(given)
            self._switch.text = self._page.t("Edit as fields")

    def _given(self) -> Entry | None:
        if self._fields is not None:
            return self._fields.take()
        assert self._text is not None
        self._text.error = None
        try:
            found = read(self._text.value or "")
        except InvalidRequest as exc:
            self._text.error = self._page.told(exc.message)
            return None
        if not isinstance(found, dict):
            self._text.error = self._page.t("It has to have the form `key: value`, one to a line.")
            return None
        return {str(key): value for key, value in found.items()}

    async def _try(self) -> None:
        given = self._given()
        if given is not None:
            driver = str(given.get("driver") or self._entry.get("driver") or "")
            await self._test.run(driver, given, configured=self._name)

    async def _save(self) -> None:
        page, client = self._page, self._page.client
        self._wrong.visible = False
        given = self._given()
        if given is None:
            return
        revision = self._configuration.revision
        if self._is_copy:
            changes = {**{name: None for name in self._entry_there() if name not in given}, **given}
            made = client.clone_config(
                self._section,
                self._name,
                self._id.value.strip(),
                changes,
                supersede=bool(self._takes_place.value),
                if_revision=revision,
            )
        else:
            made = client.put_config(self._section, self._name, given, if_revision=revision)
        if await save(page, made, self._blame):
            page.go(f"/{self._section}")

    def _entry_there(self) -> Entry:
        entries: dict[str, Entry] = getattr(self._configuration, self._section)
        return {key: value for key, value in entries[self._name].items() if key not in _OURS}

    def _blame(self, problem: Mapping[str, Any]) -> None:
        blame(self._page, self._fields, self._wrong, problem)


async def save(page: Page, made: Any, tell: Any) -> bool:
    """
    Save an entry, and say what is wrong with it if it can't be: beside the fields where that is known.

    Args:
        page: Where.
        made: The call that saves.
        tell: Is told each problem.
    """
    page.console.sessions.touch(page.session)
    try:
        await made
    except (Unauthorized, PreconditionFailed) as exc:
        await change(page, _raised(exc))
    except FustorError as exc:
        problems = problems_of(exc)
        if not problems:
            page.tell(exc)
        for problem in problems:
            tell(problem)
    else:
        say_it_waits(page)
        return True
    return False


async def _raised(error: FustorError) -> None:
    raise error


def blame(page: Page, fields: EntryFields | None, box: ui.element, problem: Mapping[str, Any]) -> None:
    """
    Say what is wrong with an entry beside the field it is about, else above all fields.
    """
    key = tuple(str(problem.get("where") or "").split(".")[2:])
    text = page.told_with(str(problem.get("message") or ""), str(problem.get("hint") or ""))
    if key and fields is not None and fields.blame(key, text):
        return
    with box:
        if not box.visible:
            box.clear()
        ui.label(f"{'.'.join(key)}: {text}" if key else text)
    box.visible = True
