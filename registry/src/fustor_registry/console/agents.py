"""
The page of the agents that reported.
"""

from __future__ import annotations

from typing import Final

from nicegui import ui

from fustor_client.models import AgentSeen
from fustor_core.sync_health import health_of
from fustor_web_ui.actions import Kind, action, ask_twice
from fustor_web_ui.formats import ago
from fustor_web_ui.healths import HEALTH, MEANINGS
from fustor_web_ui.legend import Meaning, legend
from fustor_web_ui.page import Page, console_page
from fustor_web_ui.states import Mood, state
from fustor_web_ui.tables import Column, PagedTable, slices

_STATES: Final = {
    "alive": (Mood.GOOD, "It reports again and again."),
    "silent": (
        Mood.BAD,
        "It has not reported for a while: look whether it runs and reaches the Registry. Its syncs are shown as they were then.",
    ),
}


@console_page("/agents", "Agents")
async def agents(page: Page) -> None:
    """
    List the agents of the datastores that the person may see.
    """
    t = page.t
    stores = await page.ask(page.client.datastores()) or []
    names = {str(store.id): store.name for store in stores}

    def actions(agent: AgentSeen) -> None:
        if agent.alive:
            return

        async def forget() -> None:
            gone = page.client.forget_agent(agent.datastore_id, agent.agent_id)
            await table.after(gone, "{name} is forgotten.", name=agent.agent_id)

        with ui.element("div").classes("cell-actions"):
            action(
                t("Forget"),
                Kind.DELETE,
                lambda: ask_twice(
                    page,
                    t("Forget {name}?", name=agent.agent_id),
                    t("It is listed again as soon as it reports."),
                    t("Forget"),
                    forget,
                ),
                describes=t("Forget {name}", name=agent.agent_id),
            )

    _legend(page)
    table: PagedTable[AgentSeen] = PagedTable(
        page,
        t("Agents"),
        [
            Column(t("Agent"), lambda agent: agent.agent_id),
            Column(t("Datastore"), lambda agent: names.get(str(agent.datastore_id), str(agent.datastore_id))),
            Column(t("Host"), lambda agent: agent.host),
            Column(t("Version"), lambda agent: agent.version),
            Column(t("Syncs"), fill=lambda agent: _syncs(page, agent)),
            Column(t("Last heard from"), lambda agent: ago(page, agent.last_seen_at)),
            Column(t("State"), fill=lambda agent: state(t(_word(agent)), _STATES[_word(agent)][0])),
            Column("", fill=actions, shape="is-actions"),
        ],
        slices(page, page.client.agents),
        empty=t(
            "No agent has reported yet. An agent does so once it pushes with an API key of one of your datastores."
        ),
    )
    await table.show()
    ui.timer(5.0, table.show)


def _word(agent: AgentSeen) -> str:
    return "alive" if agent.alive else "silent"


def _legend(page: Page) -> None:
    t = page.t
    legend(
        t("What the states mean"),
        [
            (t("Agent"), [Meaning(t(word), t(meaning), mood) for word, (mood, meaning) in _STATES.items()]),
            (t("Syncs"), [Meaning(t(word), t(MEANINGS[name]), mood) for name, (word, mood) in HEALTH.items()]),
        ],
    )


def _syncs(page: Page, agent: AgentSeen) -> None:
    with ui.element("div").classes("cell-syncs"):
        for sync in agent.syncs:
            word, mood = HEALTH[health_of(sync.state.split("|"))]
            with ui.element("div"):
                ui.label(sync.id)
                state(page.t(word), mood if agent.alive else Mood.OFF)
