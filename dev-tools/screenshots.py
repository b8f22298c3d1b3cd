"""
Pictures of the consoles for the guides, in `docs/images`: every page, in both languages, both colours and both widths, taken of real services
that read a real MariaDB, a real PostgreSQL and a tree of files.

    .venv/bin/python dev-tools/screenshots.py                    all of them
    .venv/bin/python dev-tools/screenshots.py --only agent       those whose name begins so

It fails when a page is wider than its window, when a script of it fails, or when axe finds something serious.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from PIL import Image

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "dev-tools")]

from example_world import World, build_world  # noqa: E402
from harness.browser import NARROW, WIDE, Visitor, chromium  # noqa: E402
from playwright.sync_api import Browser, expect  # noqa: E402

from fustor_core.testing.private_server import PASSWORD, USER  # noqa: E402

IMAGES: Final = ROOT / "docs" / "images"
GALLERY: Final = ROOT / "docs" / "reference" / "console-pages.md"
LANGUAGES: Final = ("en", "zh")
THEMES: Final = ("light", "dark")
COLOURS: Final = 256
"""
What a picture is reduced to: pages have few, and the repository keeps every one.
"""
FREQUENT: Final = 128
"""
How many of those are the ones that most of the picture has; the others are those that differ most from them.
"""
MOST_HEIGHT: Final = 3400
"""
A longer page is shown as far as the last card or row that is whole.
"""


@dataclass(frozen=True)
class Scene:
    """
    One picture.

    Attributes:
        name: Of the file; the console comes first.
        path: Of the page below the console's own.
        prepare: What is done on the page before; it may go elsewhere.
    """

    name: str
    path: str
    prepare: Callable[[Visitor, World], None] | None = None

    @property
    def console(self) -> str:
        """
        Which console it belongs to.
        """
        return self.name.partition("-")[0]


def _choose_kind(visitor: Visitor, world: World) -> None:
    visitor.click(visitor.page.locator(".wizard-choice", has_text="MariaDB"))
    visitor.page.locator("input[type=password]").wait_for()


def _connect(visitor: Visitor, world: World) -> None:
    world.mariadb.sql("DROP USER IF EXISTS reader")
    _choose_kind(visitor, world)
    visitor.page.locator(".wizard-box input").first.fill(f"mysql://reader@127.0.0.1:{world.mariadb.port}/shop")
    visitor.page.locator("input[type=password]").fill("not-the-password")


def _check(visitor: Visitor, world: World) -> None:
    _connect(visitor, world)
    _continue(visitor)
    visitor.click(visitor.page.locator(".console-note .act"))
    visitor.page.locator(".wizard-admin").wait_for()


def _create_account(visitor: Visitor, world: World) -> None:
    _check(visitor, world)
    given = visitor.page.locator(".wizard-admin input")
    given.nth(0).fill(USER)
    given.nth(1).fill(PASSWORD)
    visitor.click(visitor.page.locator(".wizard-admin .act-start"))
    expect(visitor.page.locator(".check-good")).to_have_count(3)


def _choose_tables(visitor: Visitor, world: World) -> None:
    _create_account(visitor, world)
    _continue(visitor)
    visitor.page.locator("table").wait_for()


def _look_at_rows(visitor: Visitor, world: World) -> None:
    _choose_tables(visitor, world)
    _continue(visitor)
    visitor.page.locator(".sample").first.wait_for()


def _map_fields(visitor: Visitor, world: World) -> None:
    _continue(visitor)
    visitor.page.locator(".q-toggle").wait_for()


def _transform(visitor: Visitor, world: World) -> None:
    _map_fields(visitor, world)
    _continue(visitor)
    visitor.page.locator(".sample").first.wait_for()
    visitor.click(visitor.page.locator(".wizard-kinds .act").first)
    visitor.page.locator(".wizard-change input").first.fill("total >= 500")
    expect(visitor.page.locator(".wizard-change")).to_have_count(1)
    # Until one is left out, the preview is that of before.
    visitor.page.locator(".preview:not(.is-stale) .is-out").first.wait_for()


def _continue(visitor: Visitor) -> None:
    visitor.click(visitor.page.locator(".act-primary:visible"))


# The screenshot brings animations to their end; those that go with scrolling stay where they are.
_KEEP_WHAT_FOLLOWS_SCROLLING: Final = """() => document.getAnimations()
    .filter(one => one.timeline !== document.timeline)
    .forEach(one => { one.commitStyles(); one.cancel(); })"""

_HEIGHT: Final = """(most) => {
    const height = document.documentElement.scrollHeight;
    if (height <= most) return height;
    const ends = [...document.querySelectorAll("tr, .console-card")].map(one => Math.ceil(one.getBoundingClientRect().bottom + scrollY));
    return Math.max(0, ...ends.filter(end => end + 8 <= most)) + 8 || most;
}"""

SCENES: Final = (
    Scene("registry-sign-in", "/sign-in"),
    Scene("registry-datastores", "/"),
    Scene("registry-keys", "/keys"),
    Scene("registry-agents", "/agents"),
    Scene("registry-users", "/users"),
    Scene("registry-audit", "/audit"),
    Scene("registry-account", "/account"),
    Scene("agent-sign-in", "/sign-in"),
    Scene("agent-dashboard", "/"),
    Scene("agent-sync", "/watch/shop"),
    Scene("agent-sources", "/sources"),
    Scene("agent-source-edit", "/sources/shop/edit"),
    Scene("agent-pushers", "/pushers"),
    Scene("agent-pusher-new", "/pushers/new"),
    Scene("agent-syncs", "/syncs"),
    Scene("agent-wizard-source-1-kind", "/sources/new"),
    Scene("agent-wizard-source-2-connection", "/sources/new", _connect),
    Scene("agent-wizard-source-3-checks", "/sources/new", _check),
    Scene("agent-wizard-source-4-tables", "/sources/new", _choose_tables),
    Scene("agent-wizard-source-5-rows", "/sources/new", _look_at_rows),
    Scene("agent-wizard-sync-1-ends", "/syncs/new?source=shop&pusher=fusion"),
    Scene("agent-wizard-sync-2-fields", "/syncs/new?source=shop&pusher=fusion", _map_fields),
    Scene("agent-wizard-sync-3-changes", "/syncs/new?source=shop&pusher=fusion", _transform),
    Scene("agent-revisions", "/revisions"),
    Scene("agent-revision", "/revisions/2"),
    Scene("agent-log", "/logs"),
    Scene("agent-dead-letters", "/dead-letters"),
    Scene("fusion-sign-in", "/sign-in"),
    Scene("fusion-overview", "/"),
    Scene("fusion-freshness", "/freshness"),
    Scene("fusion-files", "/files"),
    Scene("fusion-tables", "/tables"),
    Scene("fusion-table", "/tables/shop/orders?schema=shop"),
)


def _settle(visitor: Visitor) -> None:
    page = visitor.page
    page.locator("h1, [role=heading]").first.wait_for()
    if "/sign-in" not in page.url:
        page.wait_for_function("() => window.socket && window.socket.connected")
    page.wait_for_load_state("networkidle")
    page.mouse.move(0, 0)  # what the pointer rests on would look different
    # Pictures of something that is being counted: the first figures have come by then.
    page.wait_for_timeout(1500)
    visitor.wait_still()


def take(visitor: Visitor, scene: Scene, world: World, file: Path) -> list[str]:
    """
    Take one picture; return what is wrong with the page.
    """
    visitor.page.goto(f"{visitor.console}{scene.path}")
    _settle(visitor)
    if scene.prepare is not None:
        scene.prepare(visitor, world)
        _settle(visitor)
    size = visitor.page.viewport_size
    height = int(visitor.page.evaluate(_HEIGHT, MOST_HEIGHT))
    assert size is not None
    # As high as the page: what is fixed to the window would end in the middle of a picture of more.
    visitor.page.set_viewport_size({"width": size["width"], "height": max(size["height"], height)})
    visitor.page.evaluate(_KEEP_WHAT_FOLLOWS_SCROLLING)
    taken = Image.open(io.BytesIO(visitor.page.screenshot(animations="disabled")))
    visitor.page.set_viewport_size(size)
    _reduced(taken.convert("RGB")).save(file, optimize=True)
    wrong = visitor.problems(file.stem) + [f"{file.stem}: {one}" for one in visitor.troubles]
    visitor.troubles.clear()
    return wrong


def _reduced(picture: Image.Image) -> Image.Image:
    """
    Reduce the colours of a picture. Those that most of it has stay exactly what they are, and a small mark's are among those that differ
    most from them; every other one, mostly of the edges of letters, becomes the one that is nearest. (Pillow's own `quantize` takes near
    colours for equal, which changes backgrounds.)
    """
    pixels = memoryview(picture.convert("RGBX").tobytes()).cast("I")
    counted = Counter(pixels).most_common()
    colours = [_parts(pixel) for pixel, _ in counted]
    chosen = colours[:FREQUENT]
    left = {colour: min(_distance(colour, one) for one in chosen) for colour in colours[FREQUENT:]}
    while left and len(chosen) < COLOURS:
        farthest = max(left, key=lambda colour: left[colour])
        chosen.append(farthest)
        del left[farthest]
        left = {colour: min(distance, _distance(colour, farthest)) for colour, distance in left.items()}
    place = {colour: at for at, colour in enumerate(chosen)}
    for colour in left:
        place[colour] = min(range(len(chosen)), key=lambda at: _distance(colour, chosen[at]))
    table = {pixel: place[colour] for (pixel, _), colour in zip(counted, colours, strict=True)}
    made = Image.frombytes("P", picture.size, bytes(map(table.__getitem__, pixels)))
    made.putpalette([part for colour in chosen for part in colour])
    return made


def _parts(pixel: int) -> tuple[int, int, int]:
    red, green, blue, _ = pixel.to_bytes(4, sys.byteorder)
    return red, green, blue


def _distance(one: tuple[int, int, int], other: tuple[int, int, int]) -> int:
    return (one[0] - other[0]) ** 2 + (one[1] - other[1]) ** 2 + (one[2] - other[2]) ** 2


def _visit(browser: Browser, world: World, scenes: list[Scene], way: tuple[str, str, int], into: Path) -> list[str]:
    language, theme, width = way
    console = scenes[0].console
    visitor = Visitor(browser, world.consoles[console], language=language, theme=theme, width=width)  # type: ignore[arg-type]
    wrong, is_in = [], False
    try:
        for scene in scenes:
            if scene.path != "/sign-in" and not is_in:
                visitor.sign_in(**world.credentials[console])
                visitor.page.wait_for_url(lambda url: "/sign-in" not in url)
                is_in = True
            name = f"{scene.name}-{language}-{theme}-{width}"
            problems = take(visitor, scene, world, into / f"{name}.png")
            wrong += problems
            print(*(problems or [name]), sep="\n", flush=True)
    finally:
        if is_in:
            # Or the page of one's own account would list the sessions of the pictures taken before.
            with visitor.page.expect_navigation(url=lambda url: "/sign-in" in url):
                visitor.click(visitor.page.locator("form[action$='/sign-out'] button"))
        visitor.close()
    return wrong


def gallery() -> str:
    """
    Return the page that shows every picture.
    """
    lines = [
        "# Every page of the consoles",
        "",
        "Made by `dev-tools/screenshots.py`, as are the pictures: of real services that read a real MariaDB, a real PostgreSQL and a tree of files.",
    ]
    for scene in SCENES:
        lines += ["", f"## {scene.name.replace('-', ' ').capitalize()}", ""]
        for width in (WIDE, NARROW):
            shown = "".join(
                f'<a href="../images/{name}"><img alt="{scene.name}, {language}, {theme}, {width} pixels wide" '
                f'width="{200 if width == WIDE else 100}" src="../images/{name}"></a> '
                for language, theme in product(LANGUAGES, THEMES)
                for name in [f"{scene.name}-{language}-{theme}-{width}.png"]
            )
            lines += [shown.rstrip(), ""]
        lines.pop()
    return "\n".join(lines) + "\n"


@contextmanager
def _folder() -> Iterator[Path]:
    # Always the same one: pictures show its name.
    folder = Path(tempfile.gettempdir()) / "fustor-example"
    try:
        folder.mkdir()
    except FileExistsError:
        sys.exit(f"{folder} is there: another run takes pictures now, or one was killed; in that case remove it")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """
    Run the command line; return the exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="take only the pictures whose name begins so")
    parser.add_argument("--into", type=Path, default=IMAGES, help="folder (default: docs/images)")
    parser.add_argument("--first", action="store_true", help="only English, light, wide")
    given = parser.parse_args(arguments)
    given.into.mkdir(parents=True, exist_ok=True)
    wanted = [scene for scene in SCENES if scene.name.startswith(given.only)]
    wrong: list[str] = []
    ways = list(product(LANGUAGES, THEMES, (WIDE, NARROW)))[: 1 if given.first else None]
    begun = time.monotonic()
    with _folder() as folder, build_world(folder) as world, chromium() as browser:
        for console, way in product(dict.fromkeys(scene.console for scene in wanted), ways):
            scenes = [scene for scene in wanted if scene.console == console]
            wrong += _visit(browser, world, scenes, way, given.into)
    if given.into == IMAGES:
        GALLERY.write_text(gallery(), encoding="utf-8")
    print(
        f"{len(wanted) * len(ways)} pictures in {given.into}, {time.monotonic() - begun:.0f} s, {len(wrong)} problems"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
