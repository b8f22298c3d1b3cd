"""
Making a sync, or changing what one sends: from where to where, which fields, what happens to rows on their way, and its start.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from nicegui import ui

from fustor_agent.console.driver_sentences import driver_titles
from fustor_agent.console.source_wizard import free_name
from fustor_agent.console.sync_wizard_draft import SyncDraft
from fustor_agent.console.sync_wizard_mapping import MappingStep
from fustor_agent.console.sync_wizard_transforms import TransformsStep
from fustor_core.errors import ConfigError, FustorError, PreconditionFailed, StateConflictError
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.formats import listed
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.wizard import Step, Wizard

_ENDS = "ends of a sync that is being made"


@console_page("/syncs/new", "New sync")
async def new_sync(page: Page, source: str = "", pusher: str = "") -> None:
    """
    Lead through making a sync.
    """
    configuration = await page.ask(page.client.configuration())
    if configuration is None:
        return
    draft = SyncDraft(sources=configuration.sources, pushers=configuration.pushers, revision=configuration.revision)
    # Who leaves to make what is missing comes back with the name of it; the other end is still as it was chosen.
    before = page.session.facts.pop(_ENDS, {})
    draft.source = _only(source or before.get("source", ""), draft.sources)
    draft.pusher = _only(pusher or before.get("pusher", ""), draft.pushers)
    ui.label(page.t("A sync sends what a source has, and every change of it, to a consumer.")).classes("console-lead")
    await _steps(page, draft, configuration.syncs).go(0)


@console_page("/syncs/{sync_id}/edit", "Edit sync: {sync_id}")
async def edit_sync(page: Page, sync_id: str) -> None:
    """
    Lead through changing what a sync sends.
    """
    configuration = await page.ask(page.client.configuration())
    if configuration is None:
        return
    entry = configuration.syncs.get(sync_id)
    if entry is None:
        ui.label(page.t("There is no sync {name}. All syncs are listed on the page Syncs.", name=sync_id)).classes(
            "console-empty"
        )
        return
    draft = SyncDraft(
        id=sync_id, sources=configuration.sources, pushers=configuration.pushers, revision=configuration.revision
    )
    draft.read(entry)
    ui.label(page.t("What the sync {name} sends. Nothing changes before the last step.", name=sync_id)).classes(
        "console-lead"
    )
    with ui.element("div").classes("console-bar"):
        there = f"/syncs/{quote(sync_id, safe='')}/text"
        action(page.t("Edit as text"), Kind.PLAIN, lambda: page.go(there), icon="notes")
    await _steps(page, draft, configuration.syncs).go(0)


def _only(wanted: str, known: dict[str, Any]) -> str:
    """
    Return what was asked for, else the only one that there is.
    """
    if wanted in known:
        return wanted
    return next(iter(known)) if len(known) == 1 else ""


def _steps(page: Page, draft: SyncDraft, syncs: dict[str, Any]) -> Wizard:
    t = page.t
    ends, mapping = _EndsStep(page, draft), MappingStep(page, draft)
    transforms, save = TransformsStep(page, draft), _SaveStep(page, draft, syncs)
    label = t("Save and start") if draft.id is None else t("Save and apply")
    wizard = Wizard(
        page,
        [
            Step(t("From and to"), ends.show, ends.leave, t("Continue"), heading=t("From where to where?")),
            Step(
                t("Fields"),
                mapping.show,
                mapping.leave,
                t("Continue"),
                heading=t("Which fields are sent, and under which names?"),
            ),
            Step(
                t("Transform rows"),
                transforms.show,
                transforms.leave,
                t("Continue"),
                heading=t("Are rows to be changed on their way?"),
            ),
            Step(t("Save"), save.show, save.leave, label, Kind.START, t("Ready to go")),
        ],
    )
    save.wizard = wizard
    return wizard


class _EndsStep:
    """
    Which source, and which pusher.
    """

    def __init__(self, page: Page, draft: SyncDraft) -> None:
        self._page = page
        self._draft = draft
        self._chosen: dict[str, Any] = {}
        self._titles: dict[str, dict[str, str]] = {}

    async def show(self) -> None:
        """
        Let one of each be chosen.
        """
        draft, t = self._draft, self._page.t
        self._titles = await driver_titles(self._page)
        with ui.element("div").classes("wizard-ends"):
            self._end(
                "source", t("Source"), t("Where the data comes from."), draft.sources, draft.source, "uri",
                t("There is no source yet. Make one first."), t("New source"), "/sources/new",
            )  # fmt: skip
            ui.icon("arrow_forward").classes("wizard-arrow").props("aria-hidden=true")
            self._end(
                "pusher", t("Pusher"), t("Where it goes: the consumer, and the API key for it."), draft.pushers, draft.pusher, "endpoint",
                t("There is no pusher yet. Make one first."), t("New pusher"), "/pushers/new",
            )  # fmt: skip

    def _end(
        self,
        name: str,
        label: str,
        about: str,
        known: dict[str, dict[str, Any]],
        value: str,
        place: str,
        empty: str,
        make: str,
        path: str,
    ) -> None:
        with ui.element("div").classes("wizard-end"):
            ui.label(label).props('role=heading aria-level="3"').classes("wizard-part")
            ui.label(about).classes("console-lead")
            if known:
                titles = self._titles[f"{name}s"]
                # Two lines: which it is, and where that is.
                options = {
                    id_: f"{id_} · {titles.get(str(entry.get('driver')), entry.get('driver'))} \n{entry.get(place)}"
                    for id_, entry in known.items()
                }
                self._chosen[name] = (
                    ui.select(options, label=label, value=value or None, with_input=len(options) > 8)
                    .props("outlined popup-content-class=wizard-end-choices")
                    .classes("console-field")
                )
            else:
                ui.label(empty).classes("console-empty")
            action(make, Kind.PLAIN if known else Kind.START, lambda: self._leave_for(path), icon="add")

    def _leave_for(self, path: str) -> None:
        self._page.session.facts[_ENDS] = {name: str(field.value or "") for name, field in self._chosen.items()}
        self._page.go(path)

    async def leave(self) -> bool:
        """
        Take what was chosen.
        """
        t = self._page.t
        values = {name: str(field.value or "") for name, field in self._chosen.items()}
        for name, field in self._chosen.items():
            field.error = None if values[name] else t("This is needed.")
        source, pusher = values.get("source", ""), values.get("pusher", "")
        if not source or not pusher:
            if len(values) < 2:
                ui.notify(t("A sync needs a source and a pusher. Make what is missing first."), type="warning")
            return False
        self._draft.take_ends(source, pusher)
        return True


class _SaveStep:
    """
    Its name, and its start.
    """

    wizard: Wizard

    def __init__(self, page: Page, draft: SyncDraft, syncs: dict[str, Any]) -> None:
        self._page = page
        self._draft = draft
        self._syncs = syncs
        self._name = ""
        self._field: Any = None
        self._start = True

    async def show(self) -> None:
        """
        Ask for the name, and say what will happen.
        """
        t, draft = self._page.t, self._draft
        if draft.id is None:
            self._name = self._name or free_name(draft.source, self._syncs)
            self._field = (
                ui.input(t("Name of the sync"), value=self._name)
                .props("outlined autofocus")
                .classes("console-field has-hint")
            )
            self._field.props["hint"] = t("Letters, digits, and - _ . between them.")
            self._field.on("keydown.enter", self.wizard.forward)
        facts = [
            (t("Source"), draft.source),
            (t("Pusher"), draft.pusher),
            (
                t("Fields"),
                t("{number} mapped", number=len(draft.lines())) if draft.lines() else t("all, under their own names"),
            ),
            (t("Transforms"), str(len(draft.steps)) if draft.steps else t("none")),
        ]
        with ui.element("dl").classes("wizard-facts"):
            for name, value in facts:
                with ui.element("dt"):
                    ui.label(name)
                with ui.element("dd"):
                    ui.label(value)
        for section, id_ in (("sources", draft.source), ("pushers", draft.pusher)):
            if self._is_off(section, id_):
                ui.label(t("{name} is disabled now; it is enabled with the start.", name=id_)).classes("console-note")
        if draft.id is None:
            ui.switch(t("Start it at once"), value=self._start, on_change=self._switch)
            ui.label(
                t(
                    "Changes are sent from the first second on; what is there already follows beside them, without holding them up."
                )
            ).classes("console-lead")
        else:
            ui.label(
                t("The sync is restarted with this. What the consumer has is brought in line by a snapshot.")
            ).classes("console-lead")
        await self._tell_what_waits()

    def _is_off(self, section: str, id_: str) -> bool:
        known = self._draft.sources if section == "sources" else self._draft.pushers
        return bool(known.get(id_, {}).get("disabled", True))

    def _switch(self, event: Any) -> None:
        self._start = bool(event.value)
        self.wizard.relabel(self._page.t("Save and start") if self._start else self._page.t("Save"), Kind.START)

    async def _tell_what_waits(self) -> None:
        running = await self._page.ask(self._page.client.instances())
        others = [
            sync.id
            for sync in ([] if running is None else running.syncs)
            if "RUNNING_CONF_OUTDATE" in sync.states and sync.id != self._draft.id
        ]
        if others:
            ui.label(
                self._page.t(
                    "Changes of other syncs wait to be applied, and are applied with this: {names}",
                    names=listed(self._page, others),
                )
            ).classes("console-note")

    async def leave(self) -> bool:
        """
        Save it, apply it, and show it where all syncs are seen.
        """
        page, draft, t = self._page, self._draft, self._page.t
        if self._field is not None:
            self._name = str(self._field.value or "").strip()
            self._field.error = None if self._name else t("This is needed.")
            if not self._name:
                return False
        starts = draft.id is not None or self._start
        made = await page.attempt(self._saved(starts))
        if isinstance(made, FustorError):
            self._tell(made)
        if made is None or isinstance(made, FustorError):
            return False
        page.go("/")
        return False

    async def _saved(self, starts: bool) -> bool:
        client, draft = self._page.client, self._draft
        entry = draft.entry()
        if draft.id is None:
            await client.create_config("syncs", self._name, {**entry, "disabled": not starts})
        else:
            await client.put_config("syncs", draft.id, entry, if_revision=draft.revision)
        if starts and not entry.get("disabled"):
            for section, id_ in (("sources", draft.source), ("pushers", draft.pusher)):
                if self._is_off(section, id_):
                    await client.enable_config(section, id_)
        await client.apply()
        return True

    def _tell(self, error: FustorError) -> None:
        t = self._page.t
        if isinstance(error, PreconditionFailed):
            error = PreconditionFailed(
                t("Somebody has changed the configuration since this page was opened, so nothing was saved."),
                hint=t("Open the page again to see it as it is now, and make the change once more."),
            )
        if self._field is not None and isinstance(error, StateConflictError | ConfigError) and "id" in error.context:
            self._field.error = self._page.told_with(error.message, error.hint)
            return
        self._page.tell(error)
