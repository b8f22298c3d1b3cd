"""
`PusherConformance`: what every pusher driver must do, as tests that a driver author inherits.

    class TestMyPusher(PusherConformance):
        @pytest.fixture
        async def bench(self):
            ...                             # yield a `PusherBench`

The bench says how to make the driver, how to read the consumer, and how to make the consumer fail.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

import pytest

from fustor_core.drivers import PusherDriver
from fustor_core.errors import BatchRejected, ConnectionLost, ConsumerBusy, FustorError, SessionSuperseded
from fustor_core.models.event import DeleteEvent, EventBase, InsertEvent, UpdateEvent

FAULTS: dict[str, tuple[type[FustorError], ...]] = {
    "away": (ConnectionLost,),
    "busy": (ConsumerBusy, ConnectionLost),
    "superseded": (SessionSuperseded,),
    "rejects": (BatchRejected,),
}


class PusherBench(Protocol):
    """
    One consumer of the driver's kind.
    """

    def make_driver(self) -> PusherDriver:
        """
        Make a driver instance for the consumer.
        """
        ...

    async def rows(self) -> Mapping[int, Mapping[str, Any]] | None:
        """
        Return what the consumer holds of table `conformance.items`, by `id`; None when it can't be read.
        """
        ...

    async def fail_next(self, fault: str) -> bool:
        """
        Make the next push fail: "away" (no connection), "busy", "superseded", "rejects"; False when it can't.
        """
        ...


class PusherConformance:
    """
    Tests that every pusher driver passes. Subclass it with a fixture `bench` (see the module).
    """

    @pytest.fixture
    async def bench(self) -> PusherBench:
        """
        Return the bench; the subclass gives it.
        """
        raise NotImplementedError("give the fixture `bench` in the subclass")

    @pytest.fixture
    async def driver(self, bench: PusherBench) -> AsyncIterator[PusherDriver]:
        """
        Make a driver and close it, twice.
        """
        driver = bench.make_driver()
        yield driver
        await driver.close()
        await driver.close()

    @staticmethod
    def events() -> list[EventBase]:
        """
        Return some changes of table `conformance.items`; id 1 and 3 are left, 1 with a changed `name`.
        """
        where: dict[str, Any] = {"event_schema": "conformance", "table": "items", "key": ["id"]}
        return [
            InsertEvent(rows=[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}], index=10, **where),
            InsertEvent(rows=[(3, "c")], fields=["id", "name"], index=11, **where),
            UpdateEvent(rows=[{"id": 1, "name": "a2"}], index=12, **where),
            DeleteEvent(rows=[{"id": 2}], index=13, **where),
        ]

    @staticmethod
    async def send(
        driver: PusherDriver, session_id: str, events: list[EventBase], seq: int = 1, **more: Any
    ) -> dict[str, Any]:
        """
        Push as the runtime does.
        """
        control = {
            "agent_id": "conformance",
            "task_id": "conformance",
            "session_id": session_id,
            "epoch": 0,
            "seq": seq,
        }
        flags = {"source_type": "message", "is_snapshot_end": False, "snapshot_sync_suggested": False}
        return await driver.push(events, **{**control, **flags, **more})

    async def session(self, driver: PusherDriver) -> str:
        """
        Open a session.
        """
        answer = await driver.create_session("conformance", agent_id="conformance")
        assert isinstance(answer["session_id"], str)
        assert answer["session_id"]
        assert float(answer.get("heartbeat_interval", 1)) > 0
        return str(answer["session_id"])

    async def test_a_push_is_answered_and_arrives(self, bench: PusherBench, driver: PusherDriver) -> None:
        """Inserts (dicts and sequences), updates and deletes arrive; the answer says whether a snapshot is wanted."""
        session_id = await self.session(driver)
        answer = await self.send(driver, session_id, self.events())
        assert isinstance(answer["snapshot_needed"], bool)
        rows = await bench.rows()
        if rows is not None:
            assert {at: row["name"] for at, row in rows.items()} == {1: "a2", 3: "c"}

    async def test_the_same_push_again_is_harmless(self, bench: PusherBench, driver: PusherDriver) -> None:
        """The outcome of a failed push is unknown; sent again it changes nothing."""
        session_id = await self.session(driver)
        await self.send(driver, session_id, self.events())
        before = await bench.rows()
        await self.send(driver, session_id, self.events(), seq=2)
        assert await bench.rows() == before

    async def test_a_push_without_events_is_taken(self, driver: PusherDriver) -> None:
        """Control values alone are a push too: a checkpoint, a suggestion, the end of a snapshot."""
        session_id = await self.session(driver)
        answer = await self.send(driver, session_id, [], checkpoint=5, snapshot_sync_suggested=True)
        assert isinstance(answer["snapshot_needed"], bool)

    async def test_a_snapshot_can_be_begun_and_ended(self, bench: PusherBench, driver: PusherDriver) -> None:
        """Begin, rows and end of a snapshot are taken."""
        session_id = await self.session(driver)
        snapshot = {"source_type": "snapshot", "snapshot_id": "conformance-1"}
        mark = EventBase("insert", "", "", (), index=1)
        row = InsertEvent("conformance", "items", [{"id": 9, "name": "z"}], index=20, key=["id"])
        await self.send(driver, session_id, [mark], 1, **snapshot)
        await self.send(driver, session_id, [row], 2, **snapshot)
        await self.send(driver, session_id, [], 3, **{**snapshot, "is_snapshot_end": True})
        rows = await bench.rows()
        if rows is not None:
            assert 9 in rows

    async def test_the_checkpoint_is_kept_or_unknown(self, driver: PusherDriver) -> None:
        """A consumer that keeps positions answers the checkpoint that it was given; others answer -1."""
        session_id = await self.session(driver)
        await self.send(driver, session_id, self.events(), checkpoint=13)
        index = await driver.get_latest_committed_index(session_id=session_id, task_id="conformance")
        assert index in (-1, 13)

    async def test_heartbeat_and_close(self, driver: PusherDriver) -> None:
        """A heartbeat is answered, and a session ends in good order."""
        session_id = await self.session(driver)
        assert isinstance(await driver.heartbeat(session_id=session_id, task_id="conformance"), dict)
        await driver.close_session(session_id=session_id, task_id="conformance")

    @pytest.mark.parametrize("fault", sorted(FAULTS))
    async def test_failures_are_told_by_kind(self, bench: PusherBench, driver: PusherDriver, fault: str) -> None:
        """Each failure raises the error that makes the runtime do the right thing; never a quiet answer."""
        session_id = await self.session(driver)
        if not await bench.fail_next(fault):
            pytest.skip(f"this consumer can't be made to fail with {fault!r}")
        with pytest.raises(FAULTS[fault]):
            await self.send(driver, session_id, self.events())

    async def test_needed_fields_are_a_schema(self, driver: PusherDriver) -> None:
        """`get_needed_fields` answers a JSON Schema, or nothing."""
        needed = await driver.get_needed_fields()
        assert isinstance(needed, dict)
        assert isinstance(needed.get("properties", {}), dict)
