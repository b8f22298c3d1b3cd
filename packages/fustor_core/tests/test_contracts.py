"""
The conformance kit against the fakes: it passes what is right, and fails what is not.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Mapping
from typing import Any

import pytest

from fustor_core.drivers import PusherDriver, SourceDriver
from fustor_core.errors import BatchRejected, ConnectionLost, ConsumerBusy, SessionSuperseded
from fustor_core.models.config import SourceConfig
from fustor_core.models.event import EventType, UntoldMark
from fustor_core.testing.fake_database import Change, FakeDatabase
from fustor_core.testing.fakes import FakeIndexTarget, FakeSource, FakeUpsertTarget
from fustor_core.testing.pusher_contract import PusherConformance
from fustor_core.testing.source_contract import SourceConformance


class FakeSourceBench:
    """The fake database as a bench."""

    def __init__(self) -> None:
        self.database = FakeDatabase(["t"])

    def make_driver(self) -> SourceDriver:
        return FakeSource("src", SourceConfig(driver="fake", uri="fake:"), self.database)

    def write(self, n: int, version: int) -> None:
        kind = EventType.UPDATE if ("t", n) in self.database.rows(committed=True) else EventType.INSERT
        self.database.commit(Change(kind, "t", n, {"a": version}))

    def delete(self, n: int) -> None:
        if ("t", n) in self.database.rows(committed=True):
            self.database.commit(Change(EventType.DELETE, "t", n))

    def rows(self) -> dict[Hashable, Mapping[str, Any]]:
        return {at: {"id": at, **row} for (_, at), row in self.database.rows(committed=True).items()}

    def change_untold(self) -> None:
        self.database.commit_untold("truncate", "t")

    def lose_position(self) -> bool:
        self.database.purge()
        return True


class TestFakeSource(SourceConformance):
    """The fake source is a good driver."""

    @pytest.fixture
    def bench(self) -> FakeSourceBench:
        return FakeSourceBench()


class FakeTargetBench:
    """A fake target as a bench."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def make_driver(self) -> PusherDriver:
        driver: PusherDriver = self.target
        return driver

    async def rows(self) -> Mapping[int, Mapping[str, Any]]:
        return {at: row for (_, at), row in self.target.contents().items()}

    async def fail_next(self, fault: str) -> bool:
        errors = {
            "away": ConnectionLost("away"),
            "busy": ConsumerBusy("busy"),
            "superseded": SessionSuperseded("superseded"),
            "rejects": BatchRejected("rejected"),
        }
        self.target.fail = [errors[fault]]
        return True


class TestFakeIndexTarget(PusherConformance):
    """The fake that settles by index is a good consumer."""

    @pytest.fixture
    async def bench(self) -> AsyncIterator[FakeTargetBench]:
        yield FakeTargetBench(FakeIndexTarget())


class TestFakeUpsertTarget(PusherConformance):
    """So is the one that knows only upsert and delete."""

    @pytest.fixture
    async def bench(self) -> AsyncIterator[FakeTargetBench]:
        yield FakeTargetBench(FakeUpsertTarget())


def test_the_kit_notices_a_stream_that_skips_a_lost_position() -> None:
    """A driver that starts at the newest position and does not say so fails."""

    class Silent(FakeSource):
        def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> Any:
            return super().get_message_iterator(start_position, **kwargs)[0], False

    bench = FakeSourceBench()
    driver = Silent("src", SourceConfig(driver="fake", uri="fake:"), bench.database)
    with pytest.raises(AssertionError):
        SourceConformance().test_a_lost_position_is_said(bench, driver)


def test_the_kit_notices_a_snapshot_that_misses_a_row() -> None:
    """A snapshot that stops short fails."""

    class Short(FakeSource):
        def get_snapshot_iterator(self, **kwargs: Any) -> Any:
            yield from list(super().get_snapshot_iterator(**{**kwargs, "batch_size": 10}))[:-1]

    bench = FakeSourceBench()
    driver = Short("src", SourceConfig(driver="fake", uri="fake:"), bench.database)
    with pytest.raises(AssertionError, match="missing"):
        SourceConformance().test_a_snapshot_is_complete(bench, driver)


def test_the_kit_notices_a_mark_without_a_place_of_its_own() -> None:
    """A mark of untold changes at a place that the stream had passed before fails."""

    class Late(FakeSource):
        def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> Any:
            events, lost = super().get_message_iterator(start_position, **kwargs)
            return map(self.one_too_low, events), lost

        @staticmethod
        def one_too_low(event: Any) -> Any:
            if isinstance(event, UntoldMark):
                event.index -= 1
            return event

    bench = FakeSourceBench()
    driver = Late("src", SourceConfig(driver="fake", uri="fake:"), bench.database)
    with pytest.raises(AssertionError, match="no place of its own"):
        SourceConformance().test_what_changes_rows_untold_is_marked_and_the_stream_goes_on(bench, driver)
