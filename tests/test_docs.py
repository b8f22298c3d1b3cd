"""
The docs can't fall behind the code: errors, settings, routes, commands and links are compared with it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "*/README.md", "*/docs/*.md", "packages/*/README.md")
    for path in ROOT.glob(pattern)
)
CHINESE = ".zh-CN.md"
TRANSLATED = [page for page in DOCS if page.name.endswith(CHINESE)]
COMMENTS = {"bash": "#", "yaml": "#", "ini": "#", "toml": "#", "sql": "--"}
"""
How comments begin, in the languages whose comments are translated with the page.
"""
READMES = ("README.md", "README.zh-CN.md")
ROUTES_ADDED_BY_FASTAPI = {"/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc"}


def blocks(page: str, language: str = "bash") -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


def test_generated_pages_are_up_to_date() -> None:
    """
    docs/reference/errors.md and settings.md say what the code says.
    """
    done = subprocess.run(
        [sys.executable, "dev-tools/gen_reference.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_error_codes_are_stable_and_unique() -> None:
    """
    No two errors share a code, each code is dotted lower case, and each says what it means.
    """
    rows = re.findall(
        r"^\| `([^`]+)` \| `([^`]+)` \| [^|]* \| ([^|]*) \|",
        (ROOT / "docs/reference/errors.md").read_text("utf-8"),
        re.MULTILINE,
    )
    codes = [code for code, _, _ in rows]
    assert len(rows) > 10
    assert len(codes) == len(set(codes)), [code for code in codes if codes.count(code) > 1]
    assert all(re.fullmatch(r"[a-z]+(\.[a-z_]+)+", code) for code in codes)
    assert all(meaning.strip() for _, _, meaning in rows)


def documented_routes() -> set[tuple[str, str]]:
    """
    Read the calls of docs/reference/api.md as (method, path), short forms spelt out.
    """
    text = (ROOT / "docs/reference/api.md").read_text("utf-8")
    found: set[tuple[str, str]] = set()
    for line in text.splitlines():
        call = line.split("|")[1] if line.startswith("|") and line.count("|") > 1 else line
        if line.startswith("|") and "{sources,pushers,syncs}" in line:
            call = line  # the braces hold no bar, and the whole call is one cell
        last_method, last_path = "", ""
        for quoted in re.findall(r"`([^`]+)`", call):
            match = re.match(r"(?:([A-Z/]+) )?(/\S*)", quoted)
            if not match:
                continue
            methods = (match[1] or last_method).split("/")
            path = match[2].split("?")[0]
            if not match[1] and last_path:
                path = last_path.rsplit("/", 1)[0] + path  # "`POST /a/start`, `/stop`"
            else:
                last_path = path
            last_method = match[1] or last_method
            for spelt in spell_out(path):
                found |= {(method, normal(spelt)) for method in methods}
    return found


def spell_out(path: str) -> list[str]:
    """
    Turn `/api/x/{a,b}[/{id}]` into each path it stands for.
    """
    optional = re.search(r"\[([^\]]*)\]", path)
    if optional:
        return spell_out(path.replace(optional[0], "")) + spell_out(path.replace(optional[0], optional[1]))
    choice = re.search(r"\{([^{}]*,[^{}]*)\}", path)
    if choice:
        return [way for item in choice[1].split(",") for way in spell_out(path.replace(choice[0], item))]
    return [path]


def same_path(one: str, other: str) -> bool:
    """
    Compare two paths; a parameter of either stands for any one part of the other, and parameters in a row for each other.
    """
    if re.sub(r"(/\{\})+", "/{}", one) == re.sub(r"(/\{\})+", "/{}", other):
        return True
    parts = list(zip(one.split("/"), other.split("/"), strict=False))
    return one.count("/") == other.count("/") and all(left == right or "{}" in {left, right} for left, right in parts)


def normal(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path).rstrip("/")


@pytest.mark.parametrize("service", ["agent", "registry", "fusion"])
def test_every_route_is_documented(service: str, tmp_path: Path) -> None:
    """
    Each route that a service's OpenAPI document lists is in docs/reference/api.md.
    """
    code = f"import json; from fustor_{service}.main import app; print(json.dumps({{p: list(m) for p, m in app.openapi()['paths'].items()}}))"
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "FUSTOR_CONFIG_DIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    served = {
        (method.upper(), normal(path))
        for path, methods in json.loads(done.stdout).items()
        for method in methods
        if path not in ROUTES_ADDED_BY_FASTAPI
    }
    assert served, "the service lists no routes"
    known = documented_routes()
    missing = sorted(
        f"{method} {path}"
        for method, path in served
        if not any(method == other and same_path(path, known_path) for other, known_path in known)
    )
    assert not missing, f"not in docs/reference/api.md: {missing}"


def test_the_readmes_begin_with_the_two_commands() -> None:
    """
    The first thing both READMEs show is one command to run Fustor and one to run every check, and both exist and can be run.
    """
    for page in READMES:
        commands = [line.split("#")[0].rstrip() for line in blocks(page)[0].splitlines() if line.startswith("./")]
        assert [command.split()[0] for command in commands] == ["./fustor", "./test"], page
        assert commands[0] == "./fustor up /usr"
    for name in ("fustor", "test", ".ci/run"):
        assert (ROOT / name).stat().st_mode & 0o111, f"{name} can't be executed"


def test_ci_runs_the_readmes_second_command() -> None:
    """
    What CI runs is what the README tells a newcomer to run, not something weaker.
    """
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("exec ./test")


def test_make_targets_the_docs_name_exist() -> None:
    """
    Each `make target` in a page is a target.
    """
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        (page.name, name) for page in DOCS for name in re.findall(r"`make ([a-z][a-z0-9-]*)", page.read_text("utf-8"))
    }
    assert {name for _, name in named} <= targets, named


def english_of(page: Path) -> Path:
    return page.with_name(page.name.removesuffix(CHINESE) + ".md")


def code_of(page: Path) -> list[tuple[str, str]]:
    """
    Return the blocks of a page as (language, code), without translated comments. A block that names no language is a drawing: its
    words are translated.
    """
    found = []
    for language, code in re.findall(r"```(\w*)\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        if language in COMMENTS:
            code = re.sub(rf"(^|[ \t]+){COMMENTS[language]} .*$", "", code, flags=re.MULTILINE)
        found.append((language, code if language else ""))
    return found


def prose_of(page: Path) -> str:
    return re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.DOTALL)


def links_of(page: Path) -> list[tuple[str, str]]:
    """
    Return the links of a page to files of the repository, as (target, anchor).
    """
    found = re.findall(r"\]\(([^)\s#]*)(?:#([^)]*))?\)", prose_of(page))
    return [(target, anchor) for target, anchor in found if "://" not in target and not target.startswith("mailto:")]


def anchors_of(page: Path) -> set[str]:
    """
    Return the anchors that GitHub makes of the headings of a page.
    """
    headings = re.findall(r"^#+ (.*)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: str(page.relative_to(ROOT)))
def test_both_languages_show_the_same_code(page: Path) -> None:
    """
    Code that is tested in one language is what readers of the other copy.
    """
    assert code_of(page) == code_of(english_of(page))


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: str(page.relative_to(ROOT)))
def test_both_languages_say_the_same_things(page: Path) -> None:
    """
    A section, or a row of a table, that is added in one language is missed in the other.
    """
    shapes = [re.findall(r"^#+ |^\||^ *- |^\d+\. ", prose_of(each), re.MULTILINE) for each in (page, english_of(page))]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: str(page.relative_to(ROOT)))
def test_readers_of_either_language_find_the_other_and_keep_theirs(page: Path) -> None:
    """
    Each page of a pair begins with a link to the other; all other links of a Chinese page lead to Chinese pages where there are any.
    """
    english = english_of(page)
    for one, link in ((page, f"[English]({english.name})"), (english, f"[中文]({page.name})")):
        assert one.read_text("utf-8").split("\n")[2] == link, one
    left = [
        target
        for target, _ in links_of(page)
        if target.endswith(".md")
        and not target.endswith(CHINESE)
        and target != english.name
        and (page.parent / target).with_suffix("").with_suffix(CHINESE).exists()
    ]
    assert not left


@pytest.mark.parametrize("page", DOCS, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    """
    Each link of a page to a file of the repository leads to one that exists, and to a heading that it has.
    """
    missing = []
    for target, anchor in links_of(page):
        file = page.parent / target if target else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            missing.append(f"{target}#{anchor}")
    assert not missing


def test_messages_that_pages_tell_the_remedy_of_are_ours() -> None:
    """
    Who looks up what a service said finds it word by word: each quoted message is in the code, around the parts that vary.
    """
    sources = "\n".join(
        path.read_text("utf-8") for folder in ("*/src", "packages/*/src") for path in ROOT.glob(f"{folder}/**/*.py")
    )
    parts: list[str] = []
    for page in (
        "operate.md",
        "operate.zh-CN.md",
        "write-a-third-party-driver.md",
        "write-a-third-party-driver.zh-CN.md",
    ):
        for line in (ROOT / "docs/how-to" / page).read_text("utf-8").splitlines():
            if not line.startswith("| "):
                continue
            quoted = re.findall(r"`([^`]* [^`]*)`", line.split("|")[1])
            told = [one for one in quoted if not one.startswith("ModuleNotFoundError")]  # Python's own
            parts += [part.strip() for one in told for part in re.split(r"\.\.\.|'[^']*'", one) if part.strip()]
    assert len(parts) > 20
    assert [part for part in parts if part not in sources] == []


def test_the_files_that_hold_the_invariants_exist() -> None:
    """
    Each file that the page of invariants names is there: who renames one mends the page.
    """
    named = set(re.findall(r"`([a-z_/]+\.py)`", (ROOT / "docs/explanation/invariants.md").read_text("utf-8")))
    assert len(named) > 10
    assert not sorted(name for name in named if not (ROOT / name).is_file())


def test_the_cli_commands_the_docs_name_exist() -> None:
    """
    Each `fustor <command>` in a page is a command that `fustor --help` knows.
    """
    script = Path(sys.executable).with_name("fustor")
    shown = subprocess.run(
        [str(script), "--help"],
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "200", "PATH": "/usr/bin:/bin", "HOME": "/tmp"},
    )
    assert shown.returncode == 0, shown.stderr
    named = {
        (page.name, name)
        for page in DOCS
        for name in re.findall(
            r"^\s*(?:\./)?fustor ([a-z]+)", "\n".join(blocks(str(page.relative_to(ROOT)))), re.MULTILINE
        )
    }
    missing = {(page, name) for page, name in named if not re.search(rf"\b{name}\b", shown.stdout)}
    assert not missing


def test_the_way_of_an_event_names_files_that_are_there() -> None:
    """
    Each step in docs/architecture.md names its files; a short name is beside the one before it or below the same `src/<package>`.
    """
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    way = text.partition("## The way of one event")[2].partition("\n## ")[0]
    steps = [line for line in way.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(line.split("|")[1]) for line in steps] == list(range(1, len(steps) + 1))
    assert len(steps) > 10
    for step in steps:
        named = re.findall(r"`([\w/]+\.py)`", step.split("|")[3])
        assert named, step
        before = Path(named[0])
        for name in named:
            if "/src/" in name:
                before = Path(name)
                assert (ROOT / before).is_file(), name
                continue
            package = Path(*before.parts[: before.parts.index("src") + 2])
            assert any((ROOT / folder / name).is_file() for folder in (before.parent, package)), f"{name} in {step}"


def test_every_picture_that_a_page_shows_is_there() -> None:
    """
    And none is kept that no page shows.
    """
    shown: set[Path] = set()
    for page in [*ROOT.glob("*.md"), *ROOT.glob("*/docs/*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r'(?:src|srcset)="([^"]+\.png)"', page.read_text("utf-8")):
            shown.add((page.parent / target).resolve())
    assert shown, "the guides show pictures"
    assert [str(one) for one in shown if not one.exists()] == []
    assert set((ROOT / "docs" / "images").glob("*.png")) - shown == set()
