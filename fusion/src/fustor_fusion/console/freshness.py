"""
The page that says how fresh every table and tree is.
"""

from __future__ import annotations

from typing import Any, Final

from nicegui import ui

from fustor_client.models import StreamNow
from fustor_fusion.console.names import visible
from fustor_fusion.console.times import ago_of, since
from fustor_fusion.console.words import COVERAGES, STATES, Word, word_of
from fustor_web_ui.formats import NONE, span
from fustor_web_ui.legend import Meaning, legend
from fustor_web_ui.live_table import LiveColumn, LiveTable, Wanted
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.states import state
from fustor_web_ui.tables import Part

_ROWS: Final = 50
_EVERY_S: Final = 3.0
_ALL: Final = ""
_NUMBERS: Final = {
    "Last live change": "When the source last changed something here. Rows that are copied because they were there before do not count.",
    "Lag": "How long the last change took from the source's commit to Fusion.",
    "Position": "The number that the newest row has in the order of its source's changes: it grows as changes come.",
}


@console_page("/freshness", "Freshness")
async def freshness(page: Page, agent: str | None = None, task: str | None = None) -> None:
    """
    List the streams, those that need somebody first.
    """
    t = page.t
    wanted: dict[str, Any] = {"agent": agent, "task": task}
    ui.label(t("A stream is one table or one file tree; an agent keeps it in step with its source.")).classes(
        "console-lead"
    )

    async def load(which: Wanted) -> Part | None:
        filters = {name: value for name, value in wanted.items() if value}
        found = await page.ask(
            page.client.streams(limit=_ROWS, cursor=which.cursor, sort=which.sort, order=which.order, **filters)
        )
        if found is None:
            return None
        table.empty(t("Nothing matches.") if filters else t("Nothing feeds this datastore yet."))
        return Part(found.rows, found.next)

    async def narrow(name: str, value: str | None) -> None:
        wanted[name] = (value or "").strip()
        await table.restart()

    with ui.element("div").classes("console-bar"):
        ui.input(t("Part of a name"), on_change=lambda event: narrow("q", event.value)).props(
            "outlined dense clearable debounce=400"
        )
        ui.select(
            {_ALL: t("all states"), **{name: t(word.text) for name, word in STATES.items()}},
            label=t("State"),
            value=_ALL,
            on_change=lambda event: narrow("state", event.value),
        ).props("outlined dense options-dense").classes("flow-choice")
        for name, value, label in (("agent", agent, "Agent"), ("task", task, "Sync")):
            if value:
                _chip(page, t(label), value, lambda name=name: narrow(name, None))
    _legend(page)
    with ui.element("div").classes("many-columns"):
        table: LiveTable[StreamNow] = LiveTable(
            page,
            t("Streams"),
            [
                LiveColumn(t("Stream"), fill=lambda one: _name(page, one), value=lambda one: one.kind, sort="name"),
                LiveColumn(t("Sync"), lambda one: visible(one.task_id), shape="is-name", sort="task"),
                LiveColumn(
                    t("State"), fill=lambda one: _state(page, one), value=lambda one: _since(page, one), sort="state"
                ),
                LiveColumn(
                    t("Completeness"),
                    fill=lambda one: _word(page, word_of(COVERAGES, one.coverage)),
                    value=lambda one: one.coverage,
                    sort="coverage",
                ),
                LiveColumn(
                    t("Last live change"),
                    lambda one: ago_of(page, one.last_change_at, never="none yet"),
                    shape="is-short",
                    sort="last_change",
                ),
                LiveColumn(
                    t("Lag"),
                    lambda one: _lag(page, one),
                    is_number=True,
                    shape="is-short",
                    sort="lag",
                ),
                LiveColumn(
                    t("Position"),
                    lambda one: t("none yet") if one.index < 0 else str(one.index),
                    is_number=True,
                    sort="index",
                ),
            ],
            load,
            key=lambda one: (one.task_id, one.schema, one.table),
            empty=t("Nothing feeds this datastore yet."),
            sort="state",
        )
    await table.show()
    ui.timer(_EVERY_S, table.show)


def _chip(page: Page, label: str, value: str, drop: Any) -> None:
    """
    Show a filter that came with the address, and let it be dropped.
    """

    async def go() -> None:
        chip.delete()
        await drop()

    with ui.element("span").classes("flow-chip") as chip:
        ui.label(f"{label}: {visible(value)}")
        ui.button(icon="close", on_click=go, color=None).props(
            f'flat round dense size=sm aria-label="{page.t("Show all")}"'
        )


def _name(page: Page, one: StreamNow) -> None:
    is_tree = one.kind == "tree"
    with ui.element("div"):
        ui.label(visible(one.schema if is_tree else f"{one.schema}.{one.table}" if one.schema else one.table)).classes(
            "flow-stream"
        )
        ui.label(page.t("file tree") if is_tree else page.t("table")).classes("flow-soft")


def _lag(page: Page, one: StreamNow) -> str:
    if one.lag_s is not None:
        return span(page, one.lag_s)
    # Without a change there is none; with one, the source did not say when that was.
    return NONE if one.last_change_at is None else page.t("unknown")


def _since(page: Page, one: StreamNow) -> tuple[str, str]:
    return one.state, "" if one.stale_since is None else since(page, one.stale_since)


def _state(page: Page, one: StreamNow) -> None:
    with ui.element("div"):
        _word(page, word_of(STATES, one.state))
        _, passed = _since(page, one)
        if passed:
            ui.label(page.t("for {time}", time=passed)).classes("flow-soft")


def _word(page: Page, word: Word) -> None:
    state(page.t(word.text), word.mood)


def _legend(page: Page) -> None:
    """
    Say what the states and the numbers mean.
    """
    t = page.t
    states, coverages = (
        [Meaning(t(word.text), t(word.meaning), word.mood) for word in words.values()] for words in (STATES, COVERAGES)
    )
    numbers = [Meaning(t(name), t(meaning)) for name, meaning in _NUMBERS.items()]
    legend(t("What the states mean"), [(t("State"), states), (t("Completeness"), coverages), (t("Numbers"), numbers)])
