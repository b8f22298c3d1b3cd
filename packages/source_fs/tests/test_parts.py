"""
The parts that need no tree: parameters, patterns, the clock, the journal, and the index against a model of it.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fustor_core.errors import ConfigError
from fustor_core.models.config import SourceConfig
from fustor_core.models.file_row import FILE_FIELDS, escape_name, unescape_name
from fustor_source_fs import FsDriver
from fustor_source_fs.config import FsParams, own_paths, parse_params, root_of, schema_of, wanted_of
from fustor_source_fs.faults import Problems
from fustor_source_fs.index import BUCKET_ENTRIES, Index, bucket_count
from fustor_source_fs.journal import Journal
from fustor_source_fs.live import picked_fields
from fustor_source_fs.position import LEASE_US, Clock
from fustor_source_fs.rows import join, split
from fustor_source_fs.watch import HintBuffer, Watcher

# Parameters, roots, patterns


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "not a path"),
        ("relative/path", "not an absolute path"),
        ("s3://bucket/key", "not an absolute path"),
        ("file://elsewhere/data", "another machine"),
        ("/with\0null", "not a path"),
        ("~nobody-of-this-name/data", "user's folder"),
    ],
)
def test_a_uri_that_names_no_directory_here(uri: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        root_of(uri)
    assert says in str(raised.value) and "/path" in raised.value.hint


def test_a_uri_in_all_its_forms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A path, a file URI with percent-encoded bytes, `~`, dots and links: one absolute path; and back to a URI.
    """
    monkeypatch.setenv("HOME", str(tmp_path))
    odd = tmp_path / os.fsdecode(b"a b%\xff")
    odd.mkdir()
    (tmp_path / "link").symlink_to(odd)
    assert root_of(str(odd)) == str(odd)
    assert root_of(f"file://{tmp_path}/a%20b%25%FF") == str(odd)
    assert root_of(f"file://localhost{tmp_path}/link") == str(odd)
    assert root_of("~/link/../link/.") == str(odd)
    assert schema_of(str(odd)) == f"file://{tmp_path}/a%20b%25%FF"
    assert root_of(schema_of(str(odd))) == str(odd)


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"poll_interval_s": 0}, "poll_interval_s"),
        ({"max_watches": 0}, "max_watches"),
        ({"include": "*.csv"}, "include"),
        ({"no_such_thing": 1}, "no_such_thing"),
    ],
)
def test_a_wrong_parameter_is_named(params: dict[str, object], field: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_params(params)
    assert raised.value.context["field"] == field and field in str(raised.value)
    assert "open_report_s" in raised.value.hint


def test_patterns_that_cannot_be_read() -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        wanted_of(FsParams(exclude=["!"]), [])


_names = st.text("ab.", min_size=1, max_size=3).filter(lambda name: name.strip("."))
_paths = st.lists(_names, min_size=1, max_size=4).map("/".join)


@given(path=_paths, names=st.lists(_names, max_size=3), is_dir=st.booleans())
def test_patterns_of_plain_names_match_a_part_of_the_path(path: str, names: list[str], is_dir: bool) -> None:
    """
    A pattern without a slash excludes what has the name, and all below; as `include` it keeps files alone.
    """
    parts = path.split("/")
    excluded = wanted_of(FsParams(exclude=names), [])
    assert (excluded is None) == (not names)
    if excluded is not None:
        assert excluded(path, is_dir) == (not set(names) & set(parts))
    included = wanted_of(FsParams(include=names), [])
    if included is not None:
        assert included(path, is_dir) == (is_dir or bool(set(names) & set(parts)))


def test_own_folders_below_the_root() -> None:
    found = own_paths("/data", [Path("/data/a\udcff/state"), Path("/data"), Path("/database/state"), Path("/other")])
    assert found == ["a\\xff/state"]
    wanted = wanted_of(FsParams(), found)
    assert wanted is not None
    assert not wanted("a\\xff/state", True)
    assert wanted("a\\xff/other", True)


@given(st.binary(min_size=1, max_size=20).filter(lambda raw: b"/" not in raw and b"\0" not in raw))
def test_joined_and_split_paths(raw: bytes) -> None:
    """
    Any name the system allows survives being escaped, joined and split.
    """
    name = escape_name(os.fsdecode(raw))
    for parent in ("", "a", "a/b"):
        assert split(join(parent, name)) == (parent, name)
    assert os.fsencode(unescape_name(split(join("a", name))[1])) == raw


@given(st.lists(st.sampled_from(FILE_FIELDS), max_size=5))
def test_picked_fields(required: list[str]) -> None:
    names, pick = picked_fields(required)
    row = tuple(f"value of {name}" for name in FILE_FIELDS)
    picked = row if pick is None else pick(row)
    assert dict(zip(names, picked, strict=True)) == {name: f"value of {name}" for name in names}
    assert set(names) == ({"path", *required} if required else set(FILE_FIELDS))


def test_problems_of_a_place_and_below() -> None:
    problems = Problems()
    for where in ("/r/a", "/r/a/b", "/r/ab", "/r/c"):
        problems.add(where, "unreadable")
    problems.clear_below("/r/a")
    assert [found["where"] for found in problems.all()] == ["/r/ab", "/r/c"]
    problems.add("/r/c", "worse")
    assert problems.all()[-1]["what"] == "worse" and len(problems) == 2
    for number in range(2000):
        problems.add(f"/{number}", "many")
    assert len(problems) == 1000


# The wizard


def ask(what: Callable[..., Any], uri: str, **params: Any) -> Any:
    return asyncio.run(what(uri=uri, credential=None, driver_params=params))


def test_the_wizard_on_good_input(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    for check in (FsDriver.test_connection, FsDriver.check_privileges):
        ok, said = ask(check, f"file://{tmp_path}", include=["*.csv"])
        assert ok and "2 entries" in said
    ok, said = ask(FsDriver.check_runtime_params, str(tmp_path))
    assert ok and said.startswith("3 directories")
    fields = ask(FsDriver.get_available_fields, str(tmp_path))
    assert set(fields["properties"]) == set(FILE_FIELDS)
    steps = asyncio.run(FsDriver.get_wizard_steps())["steps"]
    assert [step["step_id"] for step in steps] == ["root", "params"]
    assert asyncio.run(FsDriver.get_available_tables(uri=str(tmp_path))) is None, "files are no tables to choose from"
    known = set(FsParams.model_fields)
    assert set(steps[1]["schema"]["properties"]) <= known
    for step in steps:
        assert all(callable(getattr(FsDriver, name)) for name in step["validations"])


def test_the_wizard_on_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    root = str(tmp_path)
    bad = [
        (f"{root}/missing", {}, "does not exist"),
        (f"{root}/file", {}, "not a directory"),
        (f"{root}/file/below", {}, "does not exist"),
        ("relative", {}, "absolute"),
    ]
    for uri, params, says in bad:
        for check in (FsDriver.test_connection, FsDriver.check_privileges, FsDriver.check_runtime_params):
            ok, said = ask(check, uri, **params)
            assert not ok and says in said, (uri, said)
    for params, says in (({"nonsense": 1}, "nonsense"), ({"exclude": ["!"]}, "pattern")):
        ok, said = ask(FsDriver.test_connection, root, **params)
        assert not ok and says in said

    from fustor_source_fs import setup

    for number in range(20):
        (tmp_path / str(number)).mkdir()
    monkeypatch.setattr(setup, "_limit", lambda _name: 10)
    ok, said = ask(FsDriver.check_runtime_params, root)
    assert not ok and "21 directories" in said and "sysctl fs.inotify.max_user_watches" in said
    assert ask(FsDriver.check_runtime_params, root).remedy == ("sysctl fs.inotify.max_user_watches=1048576",)
    monkeypatch.setattr(setup, "_limit", lambda _name: None)
    assert ask(FsDriver.check_runtime_params, root) == (
        False,
        "this system has no inotify: the whole tree will be polled",
    )


@pytest.mark.parametrize(
    ("uri", "says"), [("missing", "does not exist"), ("file", "not a directory"), ("file/below", "does not exist")]
)
def test_a_root_that_can_not_be_used(tmp_path: Path, uri: str, says: str) -> None:
    """
    Both iterators refuse it with the same error and hint, and the state folder is free again.
    """
    (tmp_path / "file").write_text("x")
    config = SourceConfig(driver="fs", uri=str(tmp_path / uri), driver_params={"state_dir": str(tmp_path / "state")})
    driver = FsDriver("tree", config)
    for start in (driver.get_message_iterator, driver.get_snapshot_iterator):
        with pytest.raises(ConfigError) as raised:
            start()
        assert says in str(raised.value) and raised.value.hint
    assert driver.status() == {"open": False, "problems": []}
    asyncio.run(driver.close())
    with pytest.raises(ConfigError, match="was closed"):
        driver.get_message_iterator()


# The clock


class ClockMachine(RuleBasedStateMachine):
    """
    Positions grow whatever the system clock does, also after a crash; a watermark is above all handed out before it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000_000
        self.saved = 0
        self.highest = 0
        self.waiting: list[int] = []
        self.clock = self._make()

    def _make(self) -> Clock:
        return Clock(self.saved, self._reserve, threading.RLock(), lambda: self.now)

    def _reserve(self, ceiling: int) -> None:
        assert ceiling > self.saved
        self.saved = ceiling

    @rule(step=st.integers(-10_000_000, 10_000_000))
    def time_goes(self, step: int) -> None:
        self.now = max(0, self.now + step)

    @rule(count=st.integers(1, 30))
    def take(self, count: int) -> None:
        for _ in range(count):
            value = self.clock.next()
            assert value > self.highest
            assert all(value < mark for mark in self.waiting), "below every watermark that is to come"
            self.highest = value

    @precondition(lambda self: len(self.waiting) < 20)
    @rule()
    def ask(self) -> None:
        mark = self.clock.watermark()
        assert mark > self.highest and all(mark > other for other in self.waiting)
        self.waiting.append(mark)

    @precondition(lambda self: self.waiting)
    @rule()
    def reach(self) -> None:
        mark = self.waiting.pop(0)
        value = self.clock.reach(mark)
        assert value == mark, "there was room"
        self.highest = value

    @rule()
    def crash(self) -> None:
        self.waiting.clear()
        self.clock = self._make()

    @invariant()
    def what_was_handed_out_is_set_aside_on_disk(self) -> None:
        assert self.highest <= self.saved <= self.highest + LEASE_US or not self.highest
        assert self.clock.last <= self.saved


TestClock = ClockMachine.TestCase
TestClock.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_watermark_that_was_passed_is_reached_later() -> None:
    """
    When more is sent than there is room below it, order still holds.
    """
    clock = Clock(0, lambda _ceiling: None, threading.RLock(), lambda: 1000)
    mark = clock.watermark()
    taken = [clock.next() for _ in range(mark + 5)]
    assert taken == sorted(set(taken))
    assert clock.reach(mark) > taken[-1]
    clock.watermark()
    clock.forget_watermarks()
    assert clock.next() > taken[-1]


# The journal


@settings(max_examples=60, deadline=None)
@given(
    batches=st.lists(st.lists(st.text(max_size=4), min_size=1, max_size=6), max_size=30),
    limit=st.integers(1, 40),
    cut=st.integers(0, 30),
)
def test_the_journal_gives_back_what_was_sent_after_a_position(batches: list[list[str]], limit: int, cut: int) -> None:
    """
    From its floor on it has everything, in order; it keeps to its limit; and what was rolled back is not in it.
    """
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.executescript(
        "CREATE TABLE meta(name PRIMARY KEY, value); CREATE TABLE journal(idx INTEGER PRIMARY KEY, n, paths)"
    )
    journal = Journal(db, 0, limit)
    sent = [(10 * number, paths) for number, paths in enumerate(batches, 1)]
    for one in sent:
        db.execute("BEGIN")
        with pytest.raises(ZeroDivisionError), journal.appending([(one[0], ["rolled back"] * 50)]):
            raise ZeroDivisionError
        db.execute("ROLLBACK")
        db.execute("BEGIN")
        with journal.appending([one]):
            db.execute("COMMIT")
    position = max(10 * cut, journal.floor)
    last = 10 * len(batches)
    assert list(journal.between(position, last)) == [paths for index, paths in sent if position < index <= last]
    kept = sum(len(paths) for index, paths in sent if index > journal.floor)
    assert kept <= limit
    again = Journal(db, journal.floor, limit)
    assert list(again.between(again.floor, last)) == list(journal.between(journal.floor, last))
    if kept + 6 <= limit - limit // 8 and batches:
        assert journal.floor == 0 or sum(map(len, batches)) > limit, "no more is let go than must be"


# The index


SIG = st.tuples(*[st.integers(0, 3)] * 7)
_dirs = st.sampled_from(["", "a", "a/b", "a/b/c", "a0", "ab"])
_children = st.sampled_from(["x", "y", "b", "c", "é"])


class IndexMachine(RuleBasedStateMachine):
    """
    The index against plain dicts: committed state survives a crash, uncommitted does not, removal takes a whole subtree.
    """

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.index = self._open()
        self.model: dict[str, dict[str, Any]] = {}
        self.committed: dict[str, dict[str, Any]] = {}

    def _open(self) -> Index:
        return Index(Path(self.folder.name), "/root", 100)

    @rule(path=_dirs, name=_children, sig=SIG)
    def put(self, path: str, name: str, sig: Any) -> None:
        self.index.put(path, name, sig)
        self.model.setdefault(path, {})[name] = sig

    @rule(path=_dirs, start=st.integers(0, 900))
    def put_many(self, path: str, start: int) -> None:
        for number in range(start, start + 700):
            self.index.put(path, f"n{number}", (1,) * 7)
            self.model.setdefault(path, {})[f"n{number}"] = (1,) * 7

    @rule(path=_dirs, name=_children)
    def drop(self, path: str, name: str) -> None:
        self.index.drop(path, name)
        self.model.get(path, {}).pop(name, None)

    @rule(path=_dirs)
    def create(self, path: str) -> None:
        self.index.create(path)
        self.model.setdefault(path, {})
        assert self.index.is_complete(path)

    @rule(path=_dirs)
    def remove(self, path: str) -> None:
        gone = {p for p in self.model if not path or p == path or p.startswith(path + "/")}
        assert not path or self.index.has_below(path) == bool(gone)
        wanted = sorted(join(p, name) for p in gone for name in self.model[p])
        assert sorted(self.index.remove_tree(path)) == wanted
        for p in gone:
            del self.model[p]
        self.commit()  # as the caller does before anything is recorded there again

    @rule()
    def commit(self) -> None:
        self.index.commit()
        self.committed = {path: dict(sigs) for path, sigs in self.model.items()}

    @rule()
    def reset(self) -> None:
        self.index.reset()
        self.model = {path: dict(sigs) for path, sigs in self.committed.items()}

    @rule()
    def reopen(self) -> None:
        """
        What was not committed was not sent, so closing in good order forgets it too.
        """
        self.index.close()
        self.index = self._open()
        self.model = {path: dict(sigs) for path, sigs in self.committed.items()}

    @invariant()
    def says_what_the_model_says(self) -> None:
        for path in ("", "a", "a/b", "a/b/c", "a0", "ab"):
            wanted = self.model.get(path)
            assert self.index.is_known(path) == (wanted is not None)
            assert self.index.children(path) == (wanted or {})
            for name in ("x", "é", "n5"):
                assert self.index.get(path, name) == (wanted or {}).get(name)

    def teardown(self) -> None:
        self.index.close()
        self.folder.cleanup()


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)


def test_buckets() -> None:
    assert [bucket_count(n) for n in (0, BUCKET_ENTRIES, BUCKET_ENTRIES + 1, 4 * BUCKET_ENTRIES)] == [1, 1, 2, 4]


# Hints


@given(
    batches=st.lists(st.dictionaries(st.integers(0, 30), st.integers(1, 7), max_size=8), max_size=8),
    limit=st.integers(1, 20),
    most=st.integers(1, 5),
)
def test_no_hint_is_forgotten(batches: list[dict[int, int]], limit: int, most: int) -> None:
    """
    A name comes out with all its flags, or its directory comes out as dirty; marks always do, in order, and after earlier names.
    """
    from fustor_source_fs.watch import Node

    root = Node(None, "")
    nodes = [Node(root, str(number)) for number in range(4)]
    buffer = HintBuffer(limit)
    told: dict[Any, int] = {}
    for mark, batch in enumerate(batches):
        for number, flags in batch.items():
            key = (nodes[number % 4], f"f{number}")
            told[key] = told.get(key, 0) | flags
            buffer.add({key: flags})
            assert len(buffer) <= limit + len(batches)
        buffer.add({mark: 0})
    out: list[Any] = []
    while taken := buffer.take(most):
        assert len(taken) <= most
        out += taken
    assert [key for key, _ in out if isinstance(key, int)] == list(range(len(batches)))
    named = {key: flags for key, flags in out if not isinstance(key, int)}
    dirty = set(buffer.take_dirty())
    assert not buffer.has_work()
    for key, flags in told.items():
        assert key[0] in dirty or named.get(key) == flags


def test_nodes_keep_their_path(tmp_path: Path) -> None:
    """
    A directory that is forgotten goes with all below; a new one in its place is another node.
    """
    (tmp_path / "a/b").mkdir(parents=True)
    watcher = Watcher(str(tmp_path), HintBuffer(10), max_watches=None, cookies=tmp_path / "cookies")
    try:
        found = {}
        for path in ("", "a", "a/b"):
            fd = os.open(tmp_path / path, os.O_RDONLY)
            found[path] = watcher.ensure(path, fd)
            os.close(fd)
        assert [node.path() for node in found.values()] == ["", "a", "a/b"]
        assert watcher.watched == 3
        watcher.forget("a")
        assert watcher.watched == 1
        assert found["a"].dead and found["a/b"].dead and not found[""].dead
        assert watcher.find("a/b") is None
        assert watcher.node_of("a/b") is not found["a/b"]
    finally:
        watcher.close()
        watcher.close()


def test_positions_are_times() -> None:
    assert FsDriver.position_text(1_700_000_000_000_001) == "2023-11-14T22:13:20.000001Z"
    assert FsDriver.bytes_between(1, 2) is None
