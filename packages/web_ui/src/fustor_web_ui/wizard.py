"""
A task in steps: where one is, what is to be done now, one button that goes on and one that goes back. What was filled in belongs to the
page, so going back loses nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from nicegui import ui

from fustor_web_ui.actions import Kind, action
from fustor_web_ui.page import Page


async def _nothing_in_the_way() -> bool:
    return True


@dataclass
class Step:
    """
    One step.

    Attributes:
        title: In the person's language, as all that is said here.
        show: Fills in the step's content, inside its box.
        leave: Asked before the next step: whether what was filled in will do. It says what will not.
        heading: Above the content; the title when it is left out.
        label: Of the button that goes on; "" = the step's content goes on by itself.
        kind: What that button does.
    """

    title: str
    show: Callable[[], Awaitable[None]]
    leave: Callable[[], Awaitable[bool]] = _nothing_in_the_way
    label: str = ""
    kind: Kind = Kind.CHANGE
    heading: str = ""


class Wizard:
    """
    The steps of a task, one at a time.

    Args:
        page: Where it stands.
        steps: The steps, in their order.

    Attributes:
        root: What all of it stands in, for what goes on after a step was taken away.
    """

    def __init__(self, page: Page, steps: Sequence[Step]) -> None:
        self._page = page
        self._steps = list(steps)
        self._at = 0
        self.root = ui.element("div")
        with self.root:
            self._build()

    def _build(self) -> None:
        page = self._page
        self._path = ui.element("ol").classes("wizard-path").props(f'aria-label="{page.t("Steps")}"')
        self._box = ui.element("section").classes("console-card wizard-box")
        self._buttons = ui.element("div").classes("wizard-buttons")
        self._busy: ui.element | None = None
        self._forward: ui.button | None = None
        self._back: ui.button | None = None

    async def go(self, at: int) -> None:
        """
        Show a step.
        """
        with self.root:
            await self._show(at)

    async def _show(self, at: int) -> None:
        self._at = at
        step, t = self._steps[at], self._page.t
        self._show_path()
        self._box.clear()
        self._buttons.clear()
        self._forward = None
        with self._buttons:
            self._back = action(t("Back"), Kind.PLAIN, self.back, icon="arrow_back") if at else None
            ui.space()
            if step.label:
                self._forward = action(step.label, step.kind, self.forward).classes("act-primary")
        with self._box:
            heading = ui.label(step.heading or step.title).props('role=heading aria-level="2" tabindex=-1')
            heading.classes("console-subtitle wizard-heading")
            with self.busy():  # else it could be pressed while the step is still being shown
                await step.show()
        if at:
            # Who hears or types is at the new step, not at the end of what was there before. A field with focus keeps it.
            ui.run_javascript(
                f"const box = document.getElementById('{self._box.html_id}'), heading = document.getElementById('{heading.html_id}');"
                "if (box && heading && !box.contains(document.activeElement)) {"
                "heading.focus({preventScroll: true}); window.scrollTo({top: 0}); }"
            )

    async def forward(self) -> None:
        """
        Go to the next step, if this one is done.
        """
        with self.root, self.busy():
            done = await self._steps[self._at].leave()
        if done and self._at + 1 < len(self._steps):
            await self.go(self._at + 1)

    async def back(self) -> None:
        """
        Go to the step before.
        """
        await self.go(max(0, self._at - 1))

    def relabel(self, label: str, kind: Kind = Kind.CHANGE) -> None:
        """
        Give the button that goes on another label: what it does has changed.
        """
        if self._forward is not None:
            self._forward.set_text(label)
            for one in Kind:
                self._forward.classes(remove=one.value)
            self._forward.classes(kind.value)

    def finish(self) -> None:
        """
        Take the buttons away: all is done.
        """
        self._at = len(self._steps)
        self._show_path()
        self._buttons.clear()
        self._forward = self._back = None

    @contextlib.contextmanager
    def busy(self) -> Iterator[None]:
        """
        Show that something is under way, and let nobody press twice.
        """
        buttons = [one for one in (self._forward, self._back) if one is not None]
        for one in buttons:
            one.disable()
        if self._forward is not None:
            self._forward.props("loading")
        try:
            yield
        finally:
            for one in buttons:
                if not one.is_deleted:
                    one.enable()
                    one.props(remove="loading")

    def _show_path(self) -> None:
        self._path.clear()
        with self._path:
            for number, step in enumerate(self._steps):
                item = ui.element("li").classes("wizard-step")
                if number == self._at:
                    item.props("aria-current=step")
                elif number < self._at:
                    item.classes("is-done")
                with item:
                    with ui.element("span").classes("wizard-number"):
                        if number < self._at:
                            ui.icon("check").props(f'role=img aria-label="{self._page.t("done")}"')
                        else:
                            ui.label(str(number + 1))
                    ui.label(step.title).classes("wizard-title")
