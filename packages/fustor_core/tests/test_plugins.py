"""
A broken plugin is reported and stops nobody.
"""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from fustor_core.drivers import SourceDriver
from fustor_core.errors import DriverNotUsable
from fustor_core.plugins import PUSHERS, SOURCES, VIEWS, Catalog, plugin_modules

GOOD = """
from fustor_core.drivers import SourceDriver
class Good(SourceDriver):
    def get_snapshot_iterator(self, **kwargs): return iter(())
    def get_message_iterator(self, start_position=-1, **kwargs): return iter(()), False
    def is_position_available(self, position): return True
"""
BROKEN = {
    "raises": ("raise RuntimeError('no such library')", "RuntimeError: no such library"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "missing": ("", "AttributeError"),
    "notclass": ("Driver = 42", "not a class derived from SourceDriver"),
    "other": ("class Driver: pass", "not a class derived from SourceDriver"),
    "absent": (None, "ModuleNotFoundError"),
    "importing": ("import os\nimport no_such_library", "No module named 'no_such_library' ("),
    "syntax": ("def f(:", "SyntaxError"),
    "unfinished": (
        "from fustor_core.drivers import SourceDriver\nclass Driver(SourceDriver): pass",
        "does not implement `get_message_iterator`, `get_snapshot_iterator`, `is_position_available`",
    ),
}


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Catalog[SourceDriver]:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "plugin_good.py").write_text(GOOD)
    points = []
    for name, (source, _) in BROKEN.items():
        if source is not None:
            (tmp_path / f"plugin_{name}.py").write_text(source)
        points.append(EntryPoint(name, f"plugin_{name}:Driver", SOURCES))
    points.append(EntryPoint("good", "plugin_good:Good", SOURCES))
    try:
        return Catalog(SOURCES, SourceDriver, points)  # type: ignore[type-abstract]
    finally:
        for name in [n for n in sys.modules if n.startswith("plugin_")]:
            del sys.modules[name]


def test_the_good_one_works_beside_the_broken(catalog: Catalog[SourceDriver]) -> None:
    assert issubclass(catalog.get("good"), SourceDriver)
    assert len(catalog.list()) == len(BROKEN) + 1


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_one_is_listed_with_its_reason(catalog: Catalog[SourceDriver], name: str) -> None:
    [plugin] = [p for p in catalog.list() if p.name == name]

    assert plugin.error is not None
    assert BROKEN[name][1] in plugin.error
    with pytest.raises(DriverNotUsable, match=name):
        catalog.get(name)


def test_an_unknown_name_lists_what_is_installed(catalog: Catalog[SourceDriver]) -> None:
    with pytest.raises(DriverNotUsable, match="installed: good"):
        catalog.get("oracle")


def test_the_line_that_failed_is_said(catalog: Catalog[SourceDriver], tmp_path: Path) -> None:
    [plugin] = [p for p in catalog.list() if p.name == "importing"]

    assert plugin.error is not None
    assert plugin.error.endswith(f"({tmp_path / 'plugin_importing.py'}, line 2)")


class Installed:
    """What an entry point tells of its package."""

    version = "1.0"

    def __init__(self, name: str) -> None:
        self.name = name


def of_package(point: EntryPoint, package: str) -> EntryPoint:
    vars(point).update(dist=Installed(package))
    return point


def test_a_name_given_twice_means_the_package_called_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Whatever the order on the path, a driver that is installed beside one of the same name does not take its place, nor is it loaded.
    """
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "rightful.py").write_text(GOOD)
    (tmp_path / "intruder.py").write_text("raise AssertionError('loaded')")
    points = [
        of_package(EntryPoint("good", "intruder:Good", SOURCES), "Acme_Drivers"),
        of_package(EntryPoint("good", "rightful:Good", SOURCES), "fustor_source.good"),
        of_package(EntryPoint("good", "rightful:Good", SOURCES), "fustor_source.good"),
        of_package(EntryPoint("good", "intruder:Good", SOURCES), "fustor-more-drivers"),
    ]

    for order in (points, points[::-1]):
        catalog = Catalog(SOURCES, SourceDriver, order)  # type: ignore[type-abstract]
        listed = catalog.list()

        assert catalog.get("good").__module__ == "rightful"
        assert [(p.distribution, p.error is None) for p in listed] == [
            ("fustor_source.good", True),
            ("fustor-more-drivers", False),
            ("Acme_Drivers", False),
        ]
        assert "package 'fustor_source.good'" in str(listed[1].error)


def test_a_broken_package_keeps_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A name never comes to mean another package because the first one broke: a configuration with passwords goes by the name.
    """
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "standin.py").write_text(GOOD)
    points = [
        of_package(EntryPoint("good", "standin:Good", SOURCES), "other"),
        of_package(EntryPoint("good", "nowhere:Good", SOURCES), "fustor-source-good"),
    ]

    catalog = Catalog(SOURCES, SourceDriver, points)  # type: ignore[type-abstract]

    with pytest.raises(DriverNotUsable, match="nowhere"):
        catalog.get("good")


def test_the_modules_of_all_plugins_are_told_without_loading_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Of every group, those of a package that is broken, too.
    """
    about = tmp_path / "acme_parts-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-parts\nVersion: 1.0\n")
    groups = {SOURCES: "a = acme_parts.reader:A", PUSHERS: "b = acme_parts.writer:B", VIEWS: "c = acme_view:C"}
    (about / "entry_points.txt").write_text("".join(f"[{group}]\n{line}\n" for group, line in groups.items()))
    (tmp_path / "acme_parts.py").write_text("raise AssertionError('loaded')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert {"acme_parts.reader", "acme_parts.writer", "acme_view"} <= set(plugin_modules())
