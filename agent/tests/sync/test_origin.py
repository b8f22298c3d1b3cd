"""
Which tables are sent once more after a change of the configuration: those it concerns, and no others.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fustor_agent.database import AgentDatabase
from fustor_agent.state import StateStore
from fustor_agent.sync.origin import tables_to_send_again
from fustor_agent.sync.ports import Origin, SyncMemory
from fustor_agent.sync.position import Position
from fustor_agent.sync.settings import SyncSettings
from fustor_core.models.config import SourceConfig

MAPPING = [{"to": "title", "source": ["goods.name", "books.name"]}, {"to": "n", "source": ["goods.n"]}]
BEFORE = Origin("mysql", "mysql://h/shop", {"include": ["a"]}, "fusion http://f", {"fields_mapping": MAPPING})


class Asked:
    """
    A driver that says which tables a change concerns.
    """

    def __init__(self, answer: list[str] | None) -> None:
        self.config = SourceConfig(driver="mysql", uri="mysql://resolved/shop", driver_params={"include": ["a"]})
        self.answer = answer
        self.before: list[SourceConfig] = []
        self.closed = False

    def tables_changed(self, before: SourceConfig) -> list[str] | None:
        self.before.append(before)
        return self.answer

    async def close(self) -> None:
        self.closed = True


def renamed(to: str) -> dict[str, Any]:
    return {"fields_mapping": [{**MAPPING[0], "to": to}, MAPPING[1]]}


@pytest.mark.parametrize(
    ("now", "answer", "known", "expected"),
    [
        (BEFORE, None, True, []),
        (replace(BEFORE, transforms=renamed("label")), None, True, ["books", "goods"]),
        (replace(BEFORE, transforms={"fields_mapping": MAPPING[:1]}), None, True, ["goods"]),
        (replace(BEFORE, transforms={"fields_mapping": MAPPING, "filter": "x"}), None, True, None),
        (replace(BEFORE, driver_params={"include": ["a", "b"]}), ["shop.b"], True, ["shop.b"]),
        (replace(BEFORE, driver_params={"include": ["a"], "rows_at_once": 9}), [], True, []),
        (replace(BEFORE, driver_params={}, transforms=renamed("l")), ["shop.b"], True, ["books", "goods", "shop.b"]),
        (replace(BEFORE, driver_params={}), None, True, None),
        (replace(BEFORE, driver="postgres"), None, True, []),
        (replace(BEFORE, consumer="fusion http://other"), None, True, []),
        (replace(BEFORE, consumer="openapi http://other"), None, False, None),
    ],
)
async def test_the_tables_a_change_concerns_are_sent_again(
    now: Origin, answer: list[str] | None, known: bool, expected: list[str] | None
) -> None:
    driver: Any = Asked(answer)
    assert await tables_to_send_again(BEFORE, now, lambda: driver, is_known_consumer=known) == expected
    assert driver.closed == bool(driver.before)


async def test_what_is_written_the_same_is_compared_resolved() -> None:
    driver: Any = Asked([])
    await tables_to_send_again(
        replace(BEFORE, uri="mysql://${HOST}/shop"),
        replace(BEFORE, uri="mysql://${HOST}/shop", driver_params={"include": ["a"], "exclude": ["b"]}),
        lambda: driver,
        is_known_consumer=True,
    )
    (before,) = driver.before
    assert before.uri == "mysql://resolved/shop" and before.driver_params == {"include": ["a"]}


def test_the_gap_is_on_disk_together_with_what_it_comes_from(tmp_path: Path) -> None:
    """
    A crash right after the configuration was taken over leaves both or neither; a sync that never sent anything has no gap.
    """
    db = AgentDatabase(tmp_path)
    store = StateStore(db)
    for sync, epoch, gap in (("old", 3, ["shop.b"]), ("new", -1, None)):
        saved: list[SyncMemory] = []

        def save(memory: SyncMemory, sync: str = sync, saved: list[SyncMemory] = saved) -> None:
            store.save(sync, memory)
            saved.append(store.load(sync))

        position = Position(SyncMemory(epoch=epoch), save, lambda: 0.0, SyncSettings())
        position.take_origin(BEFORE, ["shop.b"], 0)
        (memory,) = saved
        assert (memory.origin, memory.gap, memory.gap_tables) == (BEFORE, gap is not None, gap)
    db.close()
