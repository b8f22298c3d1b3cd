"""
Packages with drivers that can't be used, installed beside ones that can: each is shown with its reason, and stops nothing else.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fustor_agent.app import create_app

COUNTS = """
from fustor_core.drivers import SourceDriver
from fustor_core.models.event import InsertEvent, progress_mark

class Counts(SourceDriver):
    def get_snapshot_iterator(self, **kwargs):
        yield InsertEvent("demo", "numbers", [{"id": 1}], index=1, key=["id"], resume_token="end")

    def get_message_iterator(self, start_position=-1, **kwargs):
        def marks():
            while not kwargs["stop_event"].wait(0.02):
                yield progress_mark(1)
        return marks(), False

    def high_watermark(self):
        return 1

    def is_position_available(self, position):
        return True
"""
UNFINISHED = "from fustor_core.drivers import PusherDriver\nclass Unfinished(PusherDriver): pass\n"


def install(site: Path, distribution: str, kind: str, name: str, source: str, attribute: str) -> None:
    """
    Lay a package out as an installer does.
    """
    module = distribution.replace("-", "_")
    (site / f"{module}.py").write_text(source)
    info = site / f"{module}-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text(f"[fustor.drivers.{kind}s]\n{name} = {module}:{attribute}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = tmp_path / "site-packages"
    site.mkdir()
    install(site, "acme-counts", "source", "acme_counts", COUNTS, "Counts")
    install(site, "acme-library", "source", "acme_library", "import os\nimport no_such_library\n", "Driver")
    install(site, "acme-class", "source", "acme_class", "class Driver: pass\n", "Driver")
    install(site, "acme-exit", "source", "acme_exit", "raise SystemExit(3)\n", "Driver")
    install(site, "acme-pusher", "pusher", "acme_pusher", UNFINISHED, "Unfinished")
    install(site, "aaa-echo", "pusher", "echo", "raise AssertionError('never loaded')\n", "Driver")
    monkeypatch.syspath_prepend(str(site))
    return site


async def test_broken_drivers_are_shown_and_stop_nothing_else(
    settings: Any, site: Path, until: Any, authorized: dict[str, str]
) -> None:
    out = settings.config_dir / "echo.jsonl"
    config = {
        "sources": {
            "good": {"driver": "acme_counts", "uri": "acme://", "disabled": False},
            "bad": {"driver": "acme_library", "uri": "acme://", "disabled": False},
        },
        "pushers": {
            "out": {"driver": "echo", "endpoint": "file", "driver_params": {"file": str(out)}, "disabled": False},
        },
        "syncs": {"works": {"source": "good", "pusher": "out"}, "fails": {"source": "bad", "pusher": "out"}},
    }
    (settings.config_dir / "agent-config.yaml").write_text(yaml.safe_dump(config))
    app = create_app(settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=authorized) as client,
    ):
        await until(lambda: out.exists() and "snapshot_end" in out.read_text())
        listed = (await client.get("/api/drivers")).json()
        works = (await client.get("/api/instances/works")).json()
        fails = (await client.get("/api/instances/fails")).json()
        refused = await client.get("/api/drivers/sources/acme_library/wizard")

    acme = {one["name"]: one for one in listed["sources"] if one["name"].startswith("acme")}
    assert acme["acme_counts"] == {
        "name": "acme_counts",
        "title": "acme_counts",
        "distribution": "acme-counts",
        "version": "2.1",
        "error": None,
    }
    assert acme["acme_library"]["error"] == (
        f"ModuleNotFoundError: No module named 'no_such_library' ({site / 'acme_library.py'}, line 2)"
    )
    assert "not a class derived from SourceDriver" in acme["acme_class"]["error"]
    assert acme["acme_exit"]["error"].startswith("SystemExit: 3")
    pushers = [(one["name"], one["distribution"], one["error"]) for one in listed["pushers"]]
    (unfinished,) = [error for name, _, error in pushers if name == "acme_pusher"]
    assert unfinished == "'acme_pusher:Unfinished' does not implement `create_session`, `push`"
    echoes = [(distribution, error) for name, distribution, error in pushers if name == "echo"]
    assert echoes[0] == ("fustor-pusher-echo", None)
    assert echoes[1][0] == "aaa-echo"
    assert "package 'fustor-pusher-echo'" in echoes[1][1]

    assert "MESSAGE_SYNC" in works["states"]
    assert fails["states"] == ["ERROR"]
    assert "no_such_library" in fails["reason"]
    assert "acme-library" in fails["hint"]
    assert refused.status_code < 500
    assert refused.json()["code"] == "driver.not_usable"
    log = [json.loads(line) for line in settings.log_file.read_text().splitlines()]
    told = {line.get("driver") for line in log if line["event"] == "a driver can't be used"}
    assert {"acme_library", "acme_class", "acme_exit", "acme_pusher", "echo"} <= told
