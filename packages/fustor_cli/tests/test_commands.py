"""
The commands as processes, against a Fusion that answers as the test says: what is written where, and the exit codes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fustor_cli.local.layout import Layout
from fustor_cli.local.state import KnownPath, Ports, UpState, save
from fustor_cli.main import COMMANDS

NAMES = ["a b", "new\\x0aline", "bad\\xff", "中文.h5", "-dash", "\\x1b[31mred"]
COUNT = 2500


def run(*arguments: str, check: int | None = 0, **more: Any) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "fustor_cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        errors="surrogateescape",
        env={**os.environ, **more},
    )
    assert check is None or done.returncode == check, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def entry(path: str, kind: str = "file", **more: Any) -> dict[str, Any]:
    return {
        "path": path,
        "name": path,
        "parent": "",
        "type": kind,
        "size": 2048,
        "mtime": 1_700_000_000 * 10**9,
        "tree": "t",
        **more,
    }


def _search(match: Any, _: Any) -> Any:
    query = dict(pair.split("=") for pair in match[1].split("&"))
    start, limit = int(query.get("cursor", 0)), int(query["limit"])
    end = min(COUNT, start + limit)
    rows = [entry(NAMES[n % len(NAMES)] + str(n)) for n in range(start, end)]
    return {"rows": rows, "next": str(end) if end < COUNT else None}


ROUTES: dict[str, Any] = {
    "GET /views/fs/trees": lambda *_: {
        "rows": [{"tree": "t", "root": "/srv/my tree", "files": 6, "dirs": 1, "bytes": 12288, "complete": False}]
    },
    r"GET /views/fs/search\?(.*)": _search,
    r"GET /views/fs/stats\?tree=t": lambda *_: {"path": "", "tree": "t", "files": 6, "dirs": 1, "bytes": 12288},
    r"GET /views/fs/(?:stats|tree)\?.*nope.*": lambda *_: (
        404,
        {
            "code": "request.not_found",
            "message": "there is no tree 'nope'",
            "hint": "`GET /views/fs/trees` lists them",
        },
    ),
    r"GET /views/fs/tree\?.*": lambda *_: entry(
        "", "dir", children=[entry(name) for name in NAMES] + [entry("l", "symlink", target="a b")]
    ),
    "GET /ingestor-api/v1/syncs/": lambda *_: [{"task_id": "t", "rows": 7, "connected": True}],
}


@pytest.fixture
def fusion(serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Any:
    service = serve(ROUTES)
    monkeypatch.setenv("FUSTOR_URL", service.url)
    monkeypatch.setenv("FUSTOR_API_KEY", "k")
    return service


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    """
    `--help` and `-h` work without a set-up, name the command, and fit a terminal of 80 columns.
    """
    shown = run(name, "--help", COLUMNS="80").stdout
    assert f"fustor {name}" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("arguments", [("tree",), ("stats",), ("search", "x"), ("tail",), ("status",)])
def test_nothing_set_up_is_one_error_with_a_remedy(arguments: tuple[str, ...], layout: Layout) -> None:
    plain = run(*arguments, check=1)
    assert (plain.stdout, plain.stderr.startswith("Error: ")) == ("", True)
    assert "fustor up PATH" in plain.stderr and len(plain.stderr.splitlines()) == 2
    document = json.loads(run(*arguments, "--json", check=1).stderr)
    assert set(document) == {"code", "message", "hint", "context"}
    assert not layout.root.exists()


def test_stopped_services_are_told_with_the_command_that_starts_them(layout: Layout) -> None:
    save(layout, UpState(key="k", ports=Ports(1, 1, 1), paths={"/my tree": KnownPath("t", 5)}))
    assert "Try: start it with `fustor up` (" in run("tree", check=1).stderr
    status = run("status", check=1)
    assert status.stdout.splitlines()[0] == "tree /my tree: stopped, 5 entries when last seen"
    assert "Start them: fustor up\n" in status.stderr
    assert json.loads(run("status", "--json", check=1).stdout)["syncs"][0]["state"] == "stopped"
    assert json.loads(run("down", "--json").stdout) == {"event": "down", "result": "nothing runs here", "services": []}


def test_damaged_memory_does_not_hide_what_is_wrong_elsewhere(layout: Layout) -> None:
    layout.prepare()
    layout.state.write_bytes(b"{")
    assert "is damaged" in run("status", check=1).stderr
    assert "127.0.0.1:1 does not answer" in run("tree", "--url", "http://127.0.0.1:1", "--key", "k", check=1).stderr
    assert run("down").stdout == "Nothing ran.\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("tree", "--url", "http://127.0.0.1:abc"), "not the address"),
        (("tree", "--key", "schlüssel"), "API key"),
        (("search", "x", "--min-size", "big"), "is not a size"),
        (("stats", "--tree", "nope"), "`fustor stats` lists the trees"),
        (("tree", "--tree", "nope"), "`fustor stats` lists the trees"),
        (("up", "/no/such/place"), "the part that exists is /"),
        (("up", __file__), "is a file"),
        (("up",), "fustor up PATH"),
    ],
)
def test_wrong_arguments_are_told_in_two_lines(fusion: Any, arguments: tuple[str, ...], word: str) -> None:
    done = run(*arguments, check=1)
    assert word in done.stderr and len(done.stderr.splitlines()) == 2
    assert done.stdout == ""


def test_wrong_usage_has_an_exit_code_of_its_own() -> None:
    for arguments in (("nonsense",), ("tree", "--nonsense"), ("search",), ("up", "/", "--port-base", "65534")):
        run(*arguments, check=2)


def test_search_goes_over_pages_and_says_when_there_is_more(fusion: Any) -> None:
    rows = json.loads(run("search", "x", "--limit", "2400", "--json").stdout)
    assert [row["path"] for row in rows] == [NAMES[n % len(NAMES)] + str(n) for n in range(2400)]
    limits = [call.split("limit=")[1].split("&")[0] for call in fusion.calls if "search" in call]
    assert limits == ["1000", "1000", "400"]
    done = run("search", "x", "--limit", "6")
    assert "--limit 60" in done.stderr
    assert len(done.stdout.splitlines()) == 7 and "\x1b" not in done.stdout
    assert "/srv/my tree/中文.h53" in done.stdout


def test_paths_for_xargs_are_the_very_bytes(fusion: Any) -> None:
    out = run("search", "x", "--limit", "6", "-0").stdout
    names = ("a b0", "new\nline1", "bad\udcff2", "中文.h53", "-dash4", "\x1b[31mred5")
    assert out == "".join(f"/srv/my tree/{name}\0" for name in names)


def test_tree_draws_names_that_are_safe(fusion: Any) -> None:
    out = run("tree").stdout
    assert "\x1b" not in out and "├── new\\nline" in out and "└── l -> a b" in out
    assert out.splitlines()[-1] == "0 directories, 7 other entries"
    rows = json.loads(run("tree", "--json").stdout)
    assert [row["path"] for row in rows] == [*NAMES, "l"]


def test_totals_say_when_a_tree_is_not_whole(fusion: Any) -> None:
    assert "/srv/my tree (incomplete: snapshot running)" in run("stats").stdout
    assert json.loads(run("stats", "--json").stdout)["files"] == 6
    assert json.loads(run("status", "--url", fusion.url, "--json").stdout)[0]["rows"] == 7


def test_reader_that_has_enough_is_no_error(fusion: Any) -> None:
    command = [sys.executable, "-m", "fustor_cli.main", "search", "x", "--limit", "2500"]
    for more in ([], ["--json"], ["-0"]):
        with subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            assert child.stdout is not None and child.stderr is not None
            child.stdout.read(1)
            child.stdout.close()
            assert child.stderr.read() == b""
            assert child.wait(60) == 0


def test_output_without_unicode_is_escaped(fusion: Any) -> None:
    out = run("search", "x", "--limit", "6", PYTHONIOENCODING="ascii", PYTHONUTF8="0").stdout
    assert "\\u4e2d\\u6587.h53" in out


def test_own_key_is_not_sent_to_another_address(serve: Callable[..., Any], layout: Layout) -> None:
    service = serve(ROUTES)
    save(layout, UpState(key="ours", ports=Ports(1, 2, 3)))
    assert "no API key" in run("tree", "--url", service.url, check=1).stderr
    assert service.calls == []


def test_up_refuses_taken_ports_before_it_changes_anything(serve: Callable[..., Any], tmp_path: Path) -> None:
    taken = serve({}).port
    done = run("up", str(tmp_path), "-D", FUSTOR_FUSION_PORT=str(taken), check=1)
    assert f"port {taken}, needed by the Fusion, is taken by" in done.stderr
    assert "--port-base" in done.stderr
    run("status", check=1)


def test_version_lists_what_is_installed() -> None:
    found = json.loads(run("version", "--json").stdout)
    assert {"fustor-cli", "fustor-agent", "fustor-source-fs", "python", "sqlite"} <= set(found)
