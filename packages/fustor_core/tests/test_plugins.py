"""
A broken plugin is reported and stops nobody.
"""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from fustor_core.drivers import SourceDriver
from fustor_core.errors import DriverNotUsable
from fustor_core.plugins import SOURCES, Catalog

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
