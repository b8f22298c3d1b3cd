"""
People at a browser: Debian's chromium, and what they do at a console.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
WIDE, NARROW = 1280, 390
TIMEOUT_MS = 90_000
"""
How long a condition may take: a test machine is busy.
"""
_IS_STILL = """() => document.getAnimations().every(
    one => one.playState !== "running" || one.timeline !== document.timeline || one.effect.getComputedTiming().iterations === Infinity
)"""
_WATCH_PRESSES = """() => {
    let pressed = null;
    document.addEventListener("mousedown", event => {
        pressed = event.target.closest("a, button, label, input, [role], .q-item") ?? event.target;
        window.missed = true;
    }, true);
    document.addEventListener("click", event => {
        if (pressed) {  // else what a label hands on to its field
            window.missed = !pressed.contains(event.target);
            pressed = null;
        }
    }, true);
}"""
_PRESSES = 5
SERIOUS = ("serious", "critical")
WAYS: Mapping[str, tuple[tuple[Literal["en", "zh"], int], ...]] = {
    "light": (("en", WIDE), ("zh", NARROW)),
    "dark": (("en", NARROW), ("zh", WIDE)),
}
"""
In which languages and widths pages are looked at, by their colours: how they are laid out goes by language and width, of which all four
pairs are there, and contrast by the colours. (`dev-tools/screenshots.py` looks at all eight.)
"""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """
    Open the browser.
    """
    assert CHROMIUM.exists(), f"{CHROMIUM} is missing; as root: apt-get install chromium"
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


class Visitor:
    """
    Somebody with a window of their own.

    Args:
        browser: The browser.
        console: Address of the console.
        language: Which they have chosen.
        theme: Which colours they have chosen.
        width: Of the window, pixels.

    Attributes:
        console: As given.
        language: As given.
        page: The window.
        troubles: What the pages complained of: scripts that failed, and anything that was fetched from elsewhere.
    """

    def __init__(
        self,
        browser: Browser,
        console: str,
        *,
        language: Literal["en", "zh"] = "en",
        theme: Literal["light", "dark"] = "light",
        width: int = WIDE,
    ) -> None:
        self.console = console
        self.language = language
        # Without movement: nobody watches it, and drawing it takes the processor from the services.
        self._context = browser.new_context(viewport={"width": width, "height": 900}, reduced_motion="reduce")
        self._context.set_default_timeout(TIMEOUT_MS)
        self._context.add_init_script(f"({_WATCH_PRESSES})()")
        self._context.add_cookies(
            [
                {"name": "fustor_language", "value": language, "url": console},
                {"name": "fustor_theme", "value": theme, "url": console},
            ]
        )
        self.troubles: list[str] = []
        self.page: Page = self._context.new_page()
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("request", self._look_at_request)

    def _look_at_request(self, request: Any) -> None:
        origin = "/".join(self.console.split("/")[:3])
        if not request.url.startswith((origin, origin.replace("http", "ws", 1), "data:", "blob:")):
            self.troubles.append(f"fetched from elsewhere: {request.url}")

    def sign_in(self, **given: str) -> None:
        """
        Fill in the form of the sign-in, and send it.
        """
        self.page.goto(f"{self.console}/sign-in")
        for name, value in given.items():
            self.page.fill(f"#{name}", value)
        self.page.click("button[type=submit]")

    def go(self, path: str, title: str) -> None:
        """
        Go to a page, and wait until it is there and connected.
        """
        self.page.goto(f"{self.console}{path}")
        self.is_at(title)

    def is_at(self, title: str) -> None:
        """
        Wait until a page with this heading is there.
        """
        expect(self.page.get_by_role("heading", name=title, level=1, exact=True)).to_be_visible()
        # Before its connection stands, a page hears no click.
        self.page.wait_for_function("() => window.socket && window.socket.connected")

    def click(self, what: Locator) -> None:
        """
        Click something. What comes or goes above it (a part that unfolds, an error that was mended) may move it away between press and
        release, most of all on a busy machine: then neither is heard, and it is clicked again, as people do.
        """
        for _ in range(_PRESSES):
            what.click()
            # Waits for a page that the click has led to, which `evaluate` does not.
            if self.page.wait_for_function("() => window.missed === true ? 'missed' : 'heard'").json_value() == "heard":
                return
        raise AssertionError(f"{what} moved away from under the pointer {_PRESSES} times")

    def press(self, label: str) -> None:
        """
        Press a button: the one of the newest dialog, when one is open.
        """
        dialogs = self.page.locator(".console-dialog:visible")
        where: Locator | Page = dialogs.last if dialogs.count() else self.page
        self.click(where.get_by_role("button", name=label, exact=True))

    def fill(self, label: str, text: str) -> None:
        """
        Fill in a field.
        """
        self.page.get_by_label(label, exact=True).fill(text)

    def row(self, text: str) -> Locator:
        """
        Return the rows of tables that hold a text.
        """
        return self.page.get_by_role("row").filter(has_text=text)

    def sees(self, text: str) -> None:
        """
        Wait until a text is to be seen.
        """
        expect(self.page.get_by_text(text).first).to_be_visible()

    def wait_still(self) -> None:
        """
        Wait until nothing on the page comes or goes any more.
        """
        self.page.wait_for_function(_IS_STILL)

    def violations(self) -> list[str]:
        """
        Return what axe finds wrong with the page for people who can't see, hear or point well, once nothing on it comes or goes any more:
        what is half faded has colours of its own.
        """
        self.wait_still()
        # axe itself fetches the style sheets, for which Quasar shows a bar: it belongs to no page.
        expect(self.page.locator(".q-loading-bar:not([aria-hidden=true])")).to_have_count(0)
        found = Axe().run(self.page)
        return [
            f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes']]}"
            for one in found.response["violations"]
            if one["impact"] in SERIOUS
        ]

    def overflows(self) -> bool:
        """
        Tell whether the page is wider than its window.
        """
        return bool(self.page.evaluate("() => document.documentElement.scrollWidth > window.innerWidth + 1"))

    def problems(self, where: str) -> list[str]:
        """
        Return what is wrong with the page as it is: what axe finds serious, and that it is wider than its window.

        Args:
            where: Said before each.
        """
        found = self.violations()
        if self.overflows():
            found.append("wider than the window")
        return [f"{where}: {one}" for one in found]

    def close(self) -> None:
        """
        Close the window.
        """
        self._context.close()


def tour(
    visit: Callable[..., Visitor],
    console: str,
    pages: Mapping[str, tuple[str, str]],
    theme: str,
    credential: Mapping[str, str],
    more: Callable[[Visitor, str], list[str]] | None = None,
) -> list[str]:
    """
    Look at the sign-in and at every page in the `WAYS` of some colours; return what is wrong.

    Args:
        visit: Opens a window.
        console: Address of the console.
        pages: Path of each page to its English and its Chinese heading.
        theme: Which colours.
        credential: What is filled in at the sign-in.
        more: Looks at what pages show besides, once all were seen; is told in which language and width.
    """
    problems: list[str] = []
    for language, width in WAYS[theme]:
        at = ("en", "zh").index(language)
        how = f"{language} {width} {theme}"
        visitor = visit(console, language=language, theme=theme, width=width)
        visitor.page.goto(f"{console}/sign-in")
        problems += visitor.problems(f"sign-in {how}")
        visitor.sign_in(**credential)
        for path, titles in pages.items():
            visitor.go(path, titles[at])
            problems += visitor.problems(f"{path} {how}")
            assert visitor.page.evaluate("() => document.documentElement.lang") == ("en", "zh-CN")[at]
        if more is not None:
            problems += more(visitor, how)
        problems += visitor.troubles
        visitor.close()
    return problems
