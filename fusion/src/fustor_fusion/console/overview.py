"""
The page that shows at a glance whether all is well: one sentence, and a picture of what flows from the agents through Fusion into the
datastore.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from nicegui import ui

from fustor_client.models import FlowSummary
from fustor_fusion.console.topology import Topology
from fustor_fusion.console.words import STATES
from fustor_web_ui.formats import listed
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.states import Mood

_EVERY_S: Final = 2.0
_BAD: Final = ("silent", "stopped")
_UNFINISHED: Final = ("waiting", "copying")


class _Sentences(NamedTuple):
    """
    The same in English of the only sync, of one among several, and of several.
    """

    only: str
    one: str
    several: str

    def choose(self, number: int, total: int) -> str:
        return self.only if total == 1 else self.one if number == 1 else self.several


_NOTHING_COMES: Final = _Sentences(
    "The sync brings nothing now: {states}.",
    "1 of {total} syncs brings nothing now: {states}.",
    "{number} of {total} syncs bring nothing now: {states}.",
)
_NOT_ALL_THERE: Final = _Sentences(
    "The sync is connected, but does not have all its data yet ({states}).",
    "{total} syncs are connected; 1 does not have all its data yet ({states}).",
    "{total} syncs are connected; {number} do not have all their data yet ({states}).",
)
_ICONS: Final = {Mood.GOOD: "check_circle", Mood.WAIT: "pending", Mood.BAD: "error", Mood.OFF: "info"}


@console_page("/", "Overview")
async def overview(page: Page) -> None:
    """
    Say how the datastore's syncs are, and draw them.
    """
    sentence = _Verdict(page)
    topology = Topology(page)

    async def refresh() -> None:
        summary = await page.ask(page.client.flow())
        if summary is not None:
            sentence.show(summary)
            await topology.show(summary)

    await refresh()
    ui.timer(_EVERY_S, refresh)


class _Verdict:
    """
    One sentence that says whether all is well.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._mood: Mood | None = None
        self._box = ui.element("div").classes("verdict").props("role=status")
        with self._box:
            self._icon = ui.icon("check_circle").props("aria-hidden=true")
            self._text = ui.label("")

    def show(self, summary: FlowSummary) -> None:
        """
        Say it of now.
        """
        text, mood = verdict(self._page, summary)
        self._text.text = text
        if mood is not self._mood:
            self._box.classes(add=mood.value, remove=None if self._mood is None else self._mood.value)
            self._icon.name = _ICONS[mood]
            self._mood = mood


def verdict(page: Page, summary: FlowSummary) -> tuple[str, Mood]:
    """
    Say in one sentence whether all is well, and how well that is.
    """
    t = page.t
    counted = {name: number for name, number in summary.by_state.items() if name != "removed"}
    total = sum(counted.values())
    if not total:
        return t("Nothing feeds this datastore yet."), Mood.OFF
    for names, sentences, mood in ((_BAD, _NOTHING_COMES, Mood.BAD), (_UNFINISHED, _NOT_ALL_THERE, Mood.WAIT)):
        found = [name for name in names if counted.get(name)]
        if found:
            number = sum(counted[name] for name in found)
            said = [
                t(STATES[name].text)
                if total == 1
                else t("{number} {state}", number=counted[name], state=t(STATES[name].text))
                for name in found
            ]
            states = listed(page, said)
            return t(sentences.choose(number, total), number=number, total=total, states=states), mood
    return (t("The sync is live.") if total == 1 else t("All {total} syncs are live.", total=total)), Mood.GOOD
