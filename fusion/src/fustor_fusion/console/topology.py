"""
The picture of what flows: agents with their syncs on the left, Fusion in the middle, the datastore on the right. Everything in it is text as
well; lines and curves only repeat it for the eye. It changes in place.
"""

from __future__ import annotations

from typing import Final

from nicegui import ui

from fustor_client.models import AgentNow, FlowSummary, SyncNow
from fustor_fusion.console.times import ago_of, since
from fustor_fusion.console.words import STATES, word_of
from fustor_web_ui.actions import Kind, action
from fustor_web_ui.formats import count, size, span, speed
from fustor_web_ui.page import Page, target
from fustor_web_ui.states import LiveState

_AGENTS: Final = 10
_CURVE: Final = (236, 44)
_PIPES: Final = ("is-flowing", "is-idle", "is-cut")


class Topology:
    """
    The picture.

    Args:
        page: Where it stands.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._cursors: list[str | None] = [None]
        self._agents: dict[str, _Agent] = {}
        self._lag_of_all: float | None = None
        t = page.t
        self._nothing = ui.element("div").classes("console-empty")
        with self._nothing:
            ui.label(t("No agent has sent anything to this datastore yet."))
            ui.label(
                t(
                    "Make an API key with the scope “ingest” in the Registry's console, and give it to an agent's pusher."
                )
            )
        self._picture = ui.element("div").classes("flow").props("role=group")
        self._picture.props["aria-label"] = t("From the agents through Fusion into the datastore")
        with self._picture:
            with ui.element("div").classes("flow-side"):
                _heading(t("Agents"))
                self._list = ui.element("ul").classes("flow-agents")
                self._build_turn()
            self._fusion = _Node("hub", "Fusion", "is-fusion")
            self._pipe = _Pipe()
            self._store = _Node("storage", str(page.session.facts["name"]), "is-store")
        with self._fusion.body:
            self._rows = ui.label().classes("flow-number")
            self._bytes = ui.label()
            self._lag = ui.label()
            self._curve = _Curve()
            self._scale = ui.label().classes("flow-soft")
            ui.label(t("in the last minute")).classes("flow-soft")
        with self._store.body:
            self._stored = ui.label().classes("flow-number")
            ui.label(t("on Fusion's disk"))
            self._syncs = ui.label()
            with ui.element("div").classes("flow-links"):
                ui.link(t("Files"), target("/files"))
                ui.link(t("Tables"), target("/tables"))
                ui.link(t("Freshness"), target("/freshness"))
        self._picture.set_visibility(False)

    def _build_turn(self) -> None:
        t = self._page.t
        self._turn = ui.element("nav").classes("console-turn").props(f'aria-label="{t("Pages of the agents")}"')
        with self._turn:
            self._previous = action(t("Previous"), Kind.PLAIN, self._back, icon="chevron_left")
            self._number = ui.label()
            self._following = action(t("Next"), Kind.PLAIN, self._forward, icon="chevron_right")
        self._next: str | None = None

    async def _back(self) -> None:
        self._cursors.pop()
        await self._show_agents()

    async def _forward(self) -> None:
        self._cursors.append(self._next)
        await self._show_agents()

    async def show(self, summary: FlowSummary) -> None:
        """
        Draw what is now.
        """
        t = self._page.t
        self._nothing.set_visibility(summary.syncs == 0)
        self._picture.set_visibility(summary.syncs > 0)
        if not summary.syncs:
            return
        self._rows.text = t("{number} rows/s", number=speed(summary.rows_per_s))
        self._bytes.text = t("{size}/s", size=size(summary.bytes_per_s))
        self._curve.show(summary.history)
        self._scale.text = t("0 to {number} rows/s", number=count(most_of(summary.history)))
        self._stored.text = size(summary.stored_bytes)
        self._syncs.text = t(
            "1 sync of 1 agent"
            if summary.syncs == 1
            else "{syncs} syncs of 1 agent"
            if summary.agents == 1
            else "{syncs} syncs of {agents} agents",
            syncs=count(summary.syncs),
            agents=count(summary.agents),
        )
        self._pipe.show("is-flowing" if summary.rows_per_s > 0 else "is-idle")
        self._lag_of_all = summary.lag_s
        await self._show_agents()

    async def _show_agents(self) -> None:
        found = await self._page.ask(self._page.client.flow_agents(limit=_AGENTS, cursor=self._cursors[-1]))
        if found is None:
            return
        if not found.rows and len(self._cursors) > 1:
            self._cursors = [None]
            await self._show_agents()
            return
        self._next = found.next
        self._show_lag(found.rows)
        self._show_cards({agent.agent_id or "": agent for agent in found.rows})
        self._turn.set_visibility(len(self._cursors) > 1 or found.next is not None)
        self._previous.set_enabled(len(self._cursors) > 1)
        self._following.set_enabled(found.next is not None)
        self._number.text = self._page.t("Page {number}", number=len(self._cursors))

    def _show_lag(self, agents: list[AgentNow]) -> None:
        """
        Show the longest lag: of the answer that the cards are of, or it would say less than a card does. Agents on other pages are not in it.
        """
        lags = [agent.lag_s for agent in agents]
        if len(self._cursors) > 1 or self._next is not None:
            lags.append(self._lag_of_all)
        longest = max((lag for lag in lags if lag is not None), default=None)
        self._lag.text = "" if longest is None else self._page.t("longest lag {time}", time=span(self._page, longest))

    def _show_cards(self, agents: dict[str, AgentNow]) -> None:
        for name in [name for name in self._agents if name not in agents]:
            self._agents.pop(name).item.delete()
        for name, agent in agents.items():
            card = self._agents.get(name)
            if card is None:
                with self._list:
                    self._agents[name] = card = _Agent(self._page, agent)
            card.show(agent)
        _put_in_order(self._list, [self._agents[name].item for name in agents])


def most_of(history: list[int]) -> int:
    """
    Return the top of the curve's scale.
    """
    return max([1, *history])


class _Node:
    """
    A thing in the picture.
    """

    def __init__(self, icon: str, name: str, look: str) -> None:
        # The inner part stays in sight beside a long list of agents.
        with ui.element("section").classes(f"flow-node {look}"), ui.element("div").classes("flow-inner"):
            ui.icon(icon).classes("flow-icon").props("aria-hidden=true")
            _heading(name)
            self.body = ui.element("div").classes("flow-body")


class _Pipe:
    """
    A line from one thing to the next, moving while something flows.
    """

    def __init__(self) -> None:
        self._line = ui.element("span").classes("flow-pipe").props("aria-hidden=true")
        self._look = ""

    def show(self, look: str) -> None:
        """
        Look like one of `_PIPES`.
        """
        assert look in _PIPES
        if look != self._look:
            self._line.classes(add=look, remove=self._look)
            self._look = look


class _Parts:
    """
    A line of facts. Each stays in one piece when there is no room for all beside each other.
    """

    def __init__(self) -> None:
        self._box = ui.element("div").classes("flow-soft flow-parts")
        self._labels: list[ui.label] = []

    def show(self, parts: list[str]) -> None:
        """
        Show these.
        """
        with self._box:
            self._labels += [ui.label() for _ in parts[len(self._labels) :]]
        for at, label in enumerate(self._labels):
            label.text = parts[at] if at < len(parts) else ""
            label.set_visibility(at < len(parts))


class _Curve:
    """
    The rows of the last minute, as a curve between two lines: none, and the most.
    """

    def __init__(self) -> None:
        width, height = _CURVE
        with (
            ui.element("svg")
            .classes("flow-curve")
            .props(f'viewBox="0 0 {width} {height}" preserveAspectRatio=none aria-hidden=true focusable=false')
        ):
            for at in (1, height - 1):
                ui.element("line").classes("flow-bound").props(f"x1=0 y1={at} x2={width} y2={at}")
            self._line = ui.element("polyline").props('fill=none stroke=currentColor stroke-width=2 points=""')
        self._points = ""

    def show(self, history: list[int]) -> None:
        """
        Draw the rows of each second.
        """
        width, height = _CURVE
        most = most_of(history)
        step = width / max(1, len(history) - 1)
        points = " ".join(
            f"{at * step:.0f},{height - 1 - rows / most * (height - 2):.0f}" for at, rows in enumerate(history)
        )
        if points != self._points:
            self._points = points
            self._line.props["points"] = points
            self._line.update()


class _Agent:
    """
    An agent and a few of its syncs.
    """

    def __init__(self, page: Page, agent: AgentNow) -> None:
        self._page = page
        t = page.t
        self._syncs: dict[str, _Sync] = {}
        self.item = ui.element("li").classes("flow-row")
        with self.item:
            with ui.element("section").classes("flow-node is-agent"):
                with ui.element("div").classes("flow-head"):
                    ui.icon("sensors").classes("flow-icon").props("aria-hidden=true")
                    name = agent.agent_id or t("an agent without a name")
                    ui.label(name).props('role=heading aria-level="3"').classes("flow-name")
                    self._state = LiveState()
                self._address = _Parts()
                self._list = ui.element("ul").classes("flow-syncs")
                query = {"agent": agent.agent_id} if agent.agent_id else {}
                self._more = ui.link("", target("/freshness", **query)).classes("flow-more")
            self._pipe = _Pipe()

    def show(self, agent: AgentNow) -> None:
        """
        Show what is now.
        """
        page, t = self._page, self._page.t
        word = word_of(STATES, agent.state)
        self._state.show(t(word.text), word.mood)
        heard = t("last heard from {ago}", ago=ago_of(page, agent.last_heartbeat_at))
        self._address.show([agent.client, heard] if agent.client else [heard])
        shown = {sync.task_id: sync for sync in agent.worst}
        for name in [name for name in self._syncs if name not in shown]:
            self._syncs.pop(name).item.delete()
        for name, sync in shown.items():
            line = self._syncs.get(name)
            if line is None:
                with self._list:
                    self._syncs[name] = line = _Sync(page, name)
            line.show(sync)
        _put_in_order(self._list, [self._syncs[name].item for name in shown])
        others = agent.syncs - len(shown)
        self._more.set_visibility(others > 0)
        self._more.text = t("and {number} more", number=others)
        is_cut = agent.state in ("silent", "stopped", "removed") and len(agent.by_state) == 1
        self._pipe.show("is-cut" if is_cut else "is-flowing" if agent.rows_per_s > 0 else "is-idle")


class _Sync:
    """
    A sync of an agent: its name, its rates, when rows came last; each in a line of its own, so that nothing jumps when a figure grows.
    """

    def __init__(self, page: Page, task_id: str) -> None:
        self._page = page
        self.item = ui.element("li").classes("flow-sync")
        with self.item:
            with ui.element("div").classes("flow-head"):
                ui.link(task_id, target("/freshness", task=task_id)).classes("flow-name")
                self._state = LiveState()
            self._numbers = _Parts()
            self._received = _Parts()
            self._meaning = ui.label().classes("flow-meaning")

    def show(self, sync: SyncNow) -> None:
        """
        Show what is now.
        """
        page, t = self._page, self._page.t
        word = word_of(STATES, sync.state)
        self._state.show(t(word.text), word.mood)
        received = [
            t("no rows received yet")
            if sync.last_row_at is None
            else t("last rows received {ago}", ago=ago_of(page, sync.last_row_at))
        ]
        if sync.stale_since is not None:
            parts = [t("nothing for {time}", time=since(page, sync.stale_since))]
        else:
            parts = [t("{number} rows/s", number=speed(sync.rows_per_s))]
            if sync.rows_per_s > 0:
                # Without rows there are only the envelopes that say so.
                parts.append(t("{size}/s", size=size(sync.bytes_per_s)))
            if sync.lag_s is not None:
                parts.append(t("lag {time}", time=span(page, sync.lag_s)))
            if sync.state == "copying" and sync.snapshot is not None:
                received.append(t("{number} older rows copied", number=count(sync.snapshot.rows)))
        self._numbers.show(parts)
        self._received.show(received)
        is_explained = sync.state != "live" and bool(word.meaning)
        self._meaning.text = t(word.meaning) if is_explained else ""
        self._meaning.set_visibility(is_explained)


def _heading(text: str) -> None:
    ui.label(text).props('role=heading aria-level="2"').classes("flow-title")


def _put_in_order(box: ui.element, items: list[ui.element]) -> None:
    children = box.default_slot.children
    if children != items:
        children[:] = items
        box.update()
