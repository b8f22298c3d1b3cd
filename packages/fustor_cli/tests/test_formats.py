"""
What is typed, and how values are shown.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from fustor_cli import formats, options
from fustor_cli.entry_text import as_row, shown_name, shown_size
from fustor_cli.local import paths
from fustor_cli.local.ports import choose_ports
from fustor_cli.local.state import KnownPath, Ports, UpState, again
from fustor_client.models import FileEntry, Tree
from fustor_core.errors import ConfigError, InvalidRequest
from fustor_core.models.file_row import escape_name


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("4096", 4096), ("10k", 10240), ("1.5G", 3 << 29), (" 2 MiB ", 2 << 20), ("3B", 3), ("1pb", 1 << 50)],
)
def test_sizes_are_read(text: str, value: int) -> None:
    assert formats.parse_size(text) == value


@pytest.mark.parametrize("text", ["", "k", "-1", "1x", "1 2", "10 km", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="is not a size"):
        formats.parse_size(text)


def test_times_are_read_as_ages_and_as_dates() -> None:
    now = 1_000_000_000.0
    for text, age_s in {"90s": 90, "15m": 900, "15min": 900, "6h": 21600, "2D": 172800, "6mo": 15552000}.items():
        assert formats.parse_time(text, now) == int((now - age_s) * 1e9)
    assert formats.parse_time("2024-05-01T12:30") == int(datetime(2024, 5, 1, 12, 30).timestamp() * 1e9)
    for text in ("", "yesterday", "5 parsecs", "2024-13-01"):
        with pytest.raises(InvalidRequest, match="is not a time"):
            formats.parse_time(text)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 K"),
        (10188, "9.9 K"),
        (10189, "10 K"),
        (1023 << 10, "1.0 M"),
        (1 << 60, "1.0 E"),
        (5000 << 60, "5000 E"),
    ],
)
def test_sizes_are_short(value: int, shown: str) -> None:
    assert formats.size(value) == shown


def test_no_size_below_an_exbibyte_is_longer_than_six_characters() -> None:
    for bits in range(60):
        for value in ((1 << bits) - 1, 1 << bits, (1 << bits) * 999 // 1000):
            assert len(formats.size(value)) <= 6, value


def test_durations_counts_and_moments() -> None:
    shown = [formats.duration(s) for s in (-1, 0.0034, 4.24, 200, 3599.6, 7500, 273600)]
    assert shown == ["0 ms", "3 ms", "4.2 s", "3 min 20 s", "1 h 0 min", "2 h 5 min", "3 d 4 h"]
    assert [formats.some(n, "file", "files") for n in (0, 1, 1234)] == ["0 files", "1 file", "1,234 files"]
    assert formats.moment(None) == "-"
    assert formats.moment(10**40) == "?"


def test_names_can_not_command_a_terminal() -> None:
    odd = ["new\nline", "tab\t", "\x1b[31mred", "bad\udcff", "‮gnp.exe", "back\\slash", "bell\x07", "\x9b1m"]
    shown = [formats.name(escape_name(name)) for name in odd]
    assert all(text.isprintable() for text in shown)
    assert len(set(shown)) == len(odd)
    assert formats.name("中文 文件.h5") == "中文 文件.h5"
    assert formats.safe_lines("a\x1b\nb") == "a\\x1b\nb"


def test_width_counts_columns() -> None:
    assert [formats.width(text) for text in ("abc", "中文", "é", "e\u0301")] == [3, 4, 1, 1]
    assert formats.tail("in ", "/a/b", 20) == "in /a/b"
    cut = formats.tail("in ", "/中文/" + "x" * 50, 20)
    assert cut.startswith("in …") and formats.width(cut) == 20


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (None, None),
        ("src/lib/", "src/lib"),
        ("", ""),
        ("/usr//lib/../share/", "/usr/share"),
        ("~/x", "{home}/x"),
        (".", "{here}"),
        ("./a b", "{here}/a b"),
        ("../中", "{up}/中"),
        (".hidden", ".hidden"),
    ],
)
def test_paths_as_typed(given: str | None, sent: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    wanted = None if sent is None else sent.format(home=tmp_path, here=tmp_path / "here", up=tmp_path)
    assert options.tree_path(given) == wanted


def test_filters_are_checked_before_anything_is_asked() -> None:
    none = dict.fromkeys(("type", "min_size", "max_size", "newer", "older", "sort"))
    assert options.filters(**none, reverse=False) == {}
    wanted = options.filters(**{**none, "type": "d", "sort": "size", "min_size": "1k"}, reverse=True)
    assert wanted == {"type": "dir", "sort": "size", "min_size": 1024, "order": "desc"}
    for name in ("type", "sort", "max_size", "older"):
        with pytest.raises(InvalidRequest):
            options.filters(**{**none, name: "nonsense"}, reverse=False)


def test_absolute_paths_of_entries() -> None:
    roots = options.roots_of([Tree("a", "/srv/a b"), Tree("b", "file:///x/%FFy"), Tree("r", "/"), Tree("none")])
    assert options.absolute(FileEntry("d/f", tree="a"), roots) == "/srv/a b/d/f"
    assert options.absolute(FileEntry("", tree="a"), roots) == "/srv/a b"
    assert options.absolute(FileEntry("f", tree="r"), roots) == "/f"
    assert options.absolute(FileEntry("f", tree="b"), roots) == escape_name("/x/\udcffy") + "/f"
    assert options.absolute(FileEntry("f", tree="gone"), roots) == "f"
    assert options.absolute(FileEntry("", tree="none"), roots) == "."


def test_entries_say_what_they_are() -> None:
    link = FileEntry("l", "l", type="symlink", target="a\\x0ab", size=3)
    assert shown_name(link, "l").startswith("l -> ") and "\n" not in shown_name(link, "l")
    assert shown_name(FileEntry("d", type="dir"), "/root/") == "/root/"
    assert shown_name(FileEntry("d", type="dir"), "d") == "d/"
    assert [shown_size(one) for one in (link, FileEntry("f", size=1024))] == ["-", "1.0 K"]
    row = as_row(FileEntry("a/f", "f", tree="t"))
    assert (row["path"], row["tree"]) == ("a/f", "t")
    assert "children" not in row


def test_path_to_watch_is_checked_and_the_error_says_which_part(tmp_path: Path) -> None:
    tree = tmp_path / "a b"
    tree.mkdir()
    (tree / "file").touch()
    (tmp_path / "link").symlink_to(tree)
    (tmp_path / "loop").symlink_to("loop")
    assert paths.checked_path(str(tmp_path / "link")) == str(tree)
    assert paths.checked_path("~/a b") == str(tree)
    for given, what, hint in (
        (tree / "file", "is a file", str(tree)),
        (tree / "no" / "where", "does not exist", str(tree)),
        (tmp_path / "loop", "can't be opened", "another"),
    ):
        with pytest.raises(ConfigError, match=what) as caught:
            paths.checked_path(str(given))
        assert hint in caught.value.hint


def test_names_of_syncs_are_readable_and_unique() -> None:
    assert paths.sync_id("/", []) == "root"
    assert paths.sync_id("/srv/data/my tree", []) == "data-my-tree"
    assert paths.sync_id("/中文", []) == "root"
    assert paths.sync_id("/a/b", ["a-b", "a-b-2"]) == "a-b-3"
    assert paths.overlapping("/a/b", ["/a", "/a/b", "/a/b/c", "/a/bc"]) == ["/a", "/a/b/c"]
    assert paths.uri_of("/a b/c") == "/a b/c"
    assert paths.uri_of("/中\udcff") == "file:///%E4%B8%AD%FF"
    assert paths.key_of("/x\udcff").isprintable()


def test_ports_of_the_option_win_then_each_variable_then_the_base(monkeypatch: pytest.MonkeyPatch) -> None:
    last = Ports(1, 2, 3)
    assert choose_ports(last) == last
    monkeypatch.setenv("FUSTOR_PORT_BASE", "9100")
    assert choose_ports(last) == Ports(9100, 9101, 9102)
    monkeypatch.setenv("FUSTOR_FUSION_PORT", "7000")
    assert choose_ports(last) == Ports(9100, 9101, 7000)
    assert choose_ports(last, 8000) == Ports(8000, 8001, 8002)
    monkeypatch.setenv("FUSTOR_FUSION_PORT", "9100")
    with pytest.raises(ConfigError, match="same port: Registry 9101, Fusion 9100, Agent 9100"):
        choose_ports(last)


@pytest.mark.parametrize("given", ["abc", "0", "-1", "65534", "٣٤٥٦", "9100.0"])
def test_port_base_without_room_for_three_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUSTOR_PORT_BASE", given)
    with pytest.raises(ConfigError, match="FUSTOR_PORT_BASE"):
        choose_ports(Ports())


def test_command_to_go_on_with_needs_no_quoting() -> None:
    assert again(None) == again(UpState()) == "fustor up PATH"
    assert again(UpState(paths={"/my tree": KnownPath("t")})) == "fustor up"
