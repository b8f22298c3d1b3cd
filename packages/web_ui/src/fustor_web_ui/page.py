"""
The frame around every page of a console: heading, navigation, language and colours, and who is signed in. A page is a function:

    @console_page("/users", "Users")
    async def users(page: Page) -> None:
        ...
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlencode

from nicegui import context, ui
from starlette.responses import RedirectResponse, Response

from fustor_core.errors import FustorError
from fustor_web_ui.console import Console, Place
from fustor_web_ui.preferences import Preferences, Theme, preferences_of
from fustor_web_ui.sessions import Session
from fustor_web_ui.texts import HTML_NAMES, LANGUAGES, NAMES

log = logging.getLogger(__name__)

T = TypeVar("T")
Body = Callable[..., Awaitable[None]]

running: Console | None = None
"""
The console whose pages these are; set when its app is built.
"""

above: list[Callable[[Page], Awaitable[None]]] = []
"""
What fills the space above every page's own content; see `above_every_page`.
"""

_SAME_AGAIN_S: Final = 3.0
_SAY_THERE: Final = "say there"
_NEXT_THEME: Final[dict[Theme, Theme]] = {"auto": "dark", "dark": "light", "light": "auto"}
_THEME_ICONS: Final[dict[Theme, str]] = {"auto": "brightness_auto", "dark": "dark_mode", "light": "light_mode"}
_THEME_LABELS: Final[dict[Theme, str]] = {
    "auto": "Colours: as the system has them",
    "dark": "Colours: dark",
    "light": "Colours: light",
}


@dataclass
class Page:
    """
    One page as one person sees it.

    Attributes:
        console: Whose page.
        session: Who looks at it.
        chosen: In which language and colours.
        path: Below the console's own.
        top: What dialogs are put into: inside what opened them they would go with it. So would what a handler says when what it
            belongs to was removed meanwhile, which is why everything here is said from the top.
    """

    console: Console
    session: Session
    chosen: Preferences
    path: str
    top: ui.element
    _told: tuple[str, float] = ("", 0.0)
    _returning: list[tuple[ui.link, dict[str, str]]] = field(default_factory=list)

    @property
    def client(self) -> Any:
        """
        The client of the service's API, with this person's credential.
        """
        return self.session.client

    def t(self, english: str, **values: Any) -> str:
        """
        Say a sentence in this person's language.
        """
        return self.console.texts.say(self.chosen.language, english, **values)

    def told(self, text: str) -> str:
        """
        Return what a service or a driver has said (a message, a hint, a reason), in this person's language where that is known.
        """
        return self.console.texts.pass_on(self.chosen.language, text)

    def told_with(self, message: str, hint: str) -> str:
        """
        Return a message and its hint as one text.
        """
        if not hint:
            return self.told(message)
        stop = "。" if self.chosen.language == "zh" else ". "
        return f"{self.told(message).rstrip('.。')}{stop}{self.told(hint)}"

    def go(self, path: str, /, **query: str) -> None:
        """
        Go to another page.
        """
        with self.top:
            ui.navigate.to(target(path, **query))

    def say_there(self, text: str) -> None:
        """
        Say that something is done on the page that this one now leads to.
        """
        self.session.facts[_SAY_THERE] = text

    def moved(self, path: str) -> None:
        """
        Take note that the page shows something else now, which has an address of its own: the browser's "back" leads to what was shown
        before, and whoever is sent away for a moment comes back to this.
        """
        self.path = path
        address = json.dumps(f"{self.console.path}{path}")
        self.run(f"history.pushState({{}}, '', {address})")
        for link, query in self._returning:
            link.props["href"] = target("/preferences", next=path, **query)
            link.update()

    def run(self, script: str) -> None:
        """
        Have the browser run a script of ours.
        """
        with self.top:
            ui.run_javascript(script)

    def preference(self, link: ui.link, **query: str) -> ui.link:
        """
        Make a link choose a language or colours, and lead back to here.
        """
        link.props["href"] = target("/preferences", next=self.path, **query)
        self._returning.append((link, query))
        return link

    async def ask(self, answer: Awaitable[T]) -> T | None:
        """
        Wait for what the service answers to a question nobody asked just now. None when it failed: that is told.
        """
        if not self.console.sessions.lasts(self.session):
            if asyncio.iscoroutine(answer):
                answer.close()
            self.sign_in_again()
            return None
        try:
            return await answer
        except FustorError as exc:
            if isinstance(exc, self.session.ends_by):
                self.session.is_over = True
                self.session.why_over = "refused"
                self.sign_in_again()
            else:
                self.tell(exc)
        return None

    async def want(self, answer: Awaitable[T]) -> T | None:
        """
        Do what the person has just asked for, and return what the service answers to it. None when it failed: that is told.
        """
        self.console.sessions.touch(self.session)
        return await self.ask(answer)

    async def act(self, answer: Awaitable[T], done: str | None = None, **values: Any) -> T | Literal[True] | None:
        """
        Do what the person has just asked for, and say that it is done. None when it failed: that is told.
        """
        result = await self.want(_or_true(answer))
        if result is not None and done is not None:
            with self.top:
                ui.notify(self.t(done, **values), type="positive")
        return result

    async def attempt(self, answer: Awaitable[T]) -> T | FustorError | None:
        """
        Do what the person has just asked for. An error is returned, for who shows it where it belongs; None when the session is over.
        """
        self.console.sessions.touch(self.session)
        failed: FustorError | None = None

        async def caught() -> T | None:
            nonlocal failed
            try:
                return await answer
            except FustorError as exc:
                if isinstance(exc, self.session.ends_by):
                    raise
                failed = exc
                return None

        done = await self.ask(caught())
        return done if failed is None else failed

    def tell(self, error: FustorError) -> None:
        """
        Show what failed, and what to do; not again and again while a page that asks by itself gets the same answer.
        """
        text = "\n".join(self.told(part) for part in (error.message, error.hint) if part)
        now = time.monotonic()
        if text == self._told[0] and now - self._told[1] < _SAME_AGAIN_S:
            self._told = (text, now)
            return
        self._told = (text, now)
        with self.top:
            ui.notify(text, type="negative", multi_line=True, timeout=0, close_button=self.t("Close"))

    def sign_in_again(self) -> None:
        """
        Go to where one signs in, which says why; this page afterwards.
        """
        self.go("/sign-in", next=self.path, why=self.session.why_over)


async def _or_true(answer: Awaitable[T]) -> T | Literal[True]:
    # Many calls answer nothing; that they came back is the answer.
    result = await answer
    return True if result is None else result


def target(path: str, /, **query: str) -> str:
    """
    Return where a link of NiceGUI leads to: it puts the console's own path before that by itself.
    """
    return f"{path}?{urlencode(query)}" if query else path


def console_page(path: str, title: str) -> Callable[[Body], Body]:
    """
    Register a page. Who is not signed in is sent to where one does that.

    Args:
        path: Below the console's own; `{names}` in it become arguments.
        title: English; `{names}` of the path in it are filled in.
    """

    def register(body: Body) -> Body:
        @functools.wraps(body)
        async def build(**arguments: Any) -> Response | None:
            console = running
            assert console is not None
            request = context.client.request
            assert request is not None
            here = request.url.path.removeprefix(console.path) or "/"
            if request.url.query:
                here = f"{here}?{request.url.query}"
            cookie = request.cookies.get(console.cookie)
            session = console.sessions.find(cookie)
            if session is None:
                query = {"next": here} if cookie is None else {"next": here, "why": "ended"}
                return RedirectResponse(f"{console.path}/sign-in?{urlencode(query)}", 303)
            console.sessions.touch(session)
            if session.detour is not None and session.detour != path:
                return RedirectResponse(f"{console.path}{session.detour}", 303)
            page = Page(console, session, preferences_of(request), here, ui.element("div"))
            heading = page.t(title, **arguments)
            with _frame(page, heading, path):
                for part in above:
                    await part(page)
                ui.label(heading).props('role=heading aria-level="1"').classes("console-title")
                await body(page, **arguments)
                if (said := session.facts.pop(_SAY_THERE, None)) is not None:
                    ui.notify(said, type="positive", multi_line=True)
            return None

        build.__annotations__ = {
            name: kind for name, kind in body.__annotations__.items() if name not in ("page", "return")
        }
        build.__signature__ = _without_page(body)  # type: ignore[attr-defined]
        ui.page(path, response_timeout=20.0)(build)
        return body

    return register


def above_every_page(part: Callable[[Page], Awaitable[None]]) -> Callable[[Page], Awaitable[None]]:
    """
    Have a function fill the space above every page of the console: with what must not be overlooked.
    """
    above.append(part)
    return part


def _without_page(body: Body) -> Any:
    signature = inspect.signature(body, eval_str=True)
    return signature.replace(
        parameters=[one for one in signature.parameters.values() if one.name != "page"],
        return_annotation=inspect.Signature.empty,
    )


def _frame(page: Page, title: str, path: str) -> ui.element:
    console, chosen = page.console, page.chosen
    ui.page_title(f"{title} · {console.title}")
    ui.add_head_html(f'<link rel="stylesheet" href="{console.path}/assets/console.css">')
    if console.style is not None:
        ui.add_head_html(f'<link rel="stylesheet" href="{console.path}/own.css">')
    ui.add_head_html(
        f"<script>document.documentElement.lang = '{HTML_NAMES[chosen.language]}';"
        f"document.documentElement.dataset.theme = '{chosen.theme}';"
        # An address that the page gave itself meanwhile (see `Page.moved`) is opened like any other.
        "addEventListener('popstate', () => location.reload());</script>"
    )
    ui.colors(primary="#1f5fbf", positive="#1b7f3b", negative="#b3261e", warning="#a45a00", info="#1f5fbf")
    ui.dark_mode({"auto": None, "dark": True, "light": False}[chosen.theme])
    with (
        # Closed as far as the server knows; a window that is wide enough opens it and says so. With None the server would ask every
        # window by a script, and log an error for each that is closed before it answers.
        ui.left_drawer(value=False, fixed=True).props("show-if-above breakpoint=900 width=220 bordered") as drawer,
        ui.element("nav").classes("console-navigation").props(f'aria-label="{page.t("Pages")}"'),
    ):
        for place in console.navigation:
            if place.is_for(page.session):
                _entry(page, place, path)
        # The header of a narrow window has no room for it.
        _who(page, "is-below")
    with ui.header().classes("console-header").props("role=banner"):
        ui.button(icon="menu", on_click=drawer.toggle, color=None).props(
            f'flat round aria-label="{page.t("Menu")}"'
        ).classes("console-menu")
        ui.link(console.title, target("/")).classes("console-brand")
        ui.space()
        _switches(page)
    # The page around it is the landmark `main` already.
    return ui.element("div").classes("console-main").props("id=main tabindex=-1")


def _entry(page: Page, place: Place, path: str) -> None:
    link = ui.link(target=target(place.path)).classes("console-place")
    if place.holds(path):
        link.classes("is-here").props("aria-current=page" if place.path == path else "aria-current=true")
    with link:
        ui.icon(place.icon).props("aria-hidden=true")
        ui.label(page.t(place.label))


def _switches(page: Page) -> None:
    chosen = page.chosen
    for language in LANGUAGES:
        if language != chosen.language:
            link = page.preference(ui.link(NAMES[language]), language=language)
            link.props(f'lang="{HTML_NAMES[language]}"').classes("console-switch")
    following = _NEXT_THEME[chosen.theme]
    label = page.t(_THEME_LABELS[chosen.theme])
    with (
        page.preference(ui.link(), theme=following)
        .props(f'aria-label="{label}" title="{label}"')
        .classes("console-switch")
    ):
        ui.icon(_THEME_ICONS[chosen.theme]).props("aria-hidden=true")
    _who(page, "is-above")
    with ui.element("form").props(f'method=post action="{page.console.path}/sign-out"'):
        ui.button(icon="logout", color=None).props(
            f'type=submit flat round aria-label="{page.t("Sign out")}" title="{page.t("Sign out")}"'
        )


def _who(page: Page, place: str) -> None:
    with ui.element("div").classes(f"console-who {place}"):
        ui.label(page.t(page.console.who_label)).classes("console-who-label")
        ui.label(page.session.who).classes("console-who-name").props["title"] = page.session.who


async def leave(session: Session) -> None:
    """
    End a session that somebody has signed out of, at the service too.
    """
    try:
        if session.leave is not None:
            await session.leave()
    except FustorError as exc:
        log.info("signing out at the service failed; the session of the console has ended: %s", exc)
    finally:
        await session.http.aclose()
