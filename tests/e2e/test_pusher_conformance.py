"""
The conformance kit for pushers against a real Fusion with its Registry, and against a file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from harness.stack import Stack

from fustor_core.models.config import ApiKeyCredential, PusherConfig
from fustor_core.testing.pusher_contract import PusherConformance
from fustor_pusher_echo import EchoPusher
from fustor_pusher_fusion import FusionPusher


class FusionBench:
    """
    A real Fusion.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def make_driver(self) -> FusionPusher:
        return FusionPusher(
            "p",
            PusherConfig(
                driver="fusion", endpoint=self._stack.fusion.url, credential=ApiKeyCredential(key=self._stack.key)
            ),
        )

    async def rows(self) -> Mapping[int, Mapping[str, Any]] | None:
        there = self._stack.fusion_get("/views/tables")["rows"]
        if not any(table["table"] == "items" for table in there):
            return {}
        page = self._stack.fusion_get("/views/tables/conformance/conformance/items/rows")
        return {row["id"]: row for row in page["rows"]}

    async def fail_next(self, fault: str) -> bool:
        if fault == "away":
            self._stack.fusion.kill()
        elif fault == "superseded":
            answer = self._stack.http.post(
                f"{self._stack.fusion.url}/ingestor-api/v1/sessions/",
                json={"task_id": "conformance", "agent_id": "conformance"},
                headers={"X-API-Key": self._stack.key},
            )
            assert answer.is_success, answer.text
        else:
            return False
        return True


class TestFusionPusher(PusherConformance):
    @pytest.fixture
    def bench(self, make_stack: Callable[..., Stack]) -> Iterator[FusionBench]:
        stack = make_stack()
        stack.registry.start()
        stack.key = stack.provision("conformance")
        stack.fusion.start()
        yield FusionBench(stack)
        stack.close()


class EchoBench:
    """
    A file of lines.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def make_driver(self) -> EchoPusher:
        return EchoPusher("p", PusherConfig(driver="echo", endpoint="stdout:", driver_params={"file": str(self._file)}))

    async def rows(self) -> Mapping[int, Mapping[str, Any]] | None:
        held: dict[int, dict[str, Any]] = {}
        for line in self._file.read_text().splitlines():
            event = json.loads(line).get("event")
            for values in (event or {}).get("rows", ()):
                row = dict(zip(event["fields"], values, strict=True))
                if event.get("event_type") == "delete":
                    held.pop(row["id"], None)
                else:
                    held.setdefault(row["id"], {}).update(row)
        return held

    async def fail_next(self, fault: str) -> bool:
        return False


class TestEchoPusher(PusherConformance):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> EchoBench:
        return EchoBench(tmp_path / "lines")
