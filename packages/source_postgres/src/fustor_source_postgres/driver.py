"""
The driver: puts server, publication, slot, stream and snapshot together, and answers for positions.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

from fustor_core.drivers import SourceDriver
from fustor_core.errors import ConnectionLost, RowsUntold
from fustor_core.models.config import SourceConfig
from fustor_core.models.event import EventBase
from fustor_source_postgres import publication, setup, slot
from fustor_source_postgres.config import own_name, parse_address, parse_credential, parse_params, wanted_of
from fustor_source_postgres.connection import Server
from fustor_source_postgres.control import Control
from fustor_source_postgres.faults import NO_SUCH_OBJECT, NOT_IN_THAT_STATE, ServerSaid
from fustor_source_postgres.memory import Memory
from fustor_source_postgres.position import boundary_of
from fustor_source_postgres.schema import Table, Types, read_tables
from fustor_source_postgres.snapshot import Snapshot
from fustor_source_postgres.stream import ReplicationStream
from fustor_source_postgres.watch import CatalogWatch, States, difference

log = logging.getLogger(__name__)

_BATCH = 2000
_LONGEST_TAKEN_S = 5.0


class PostgresDriver(SourceDriver):
    """
    Reads a PostgreSQL database: rows by COPY, changes by logical replication.

    Raises:
        ConfigError: Address, credential or `driver_params` can't be used.
    """

    def __init__(self, id: str, config: SourceConfig) -> None:  # noqa: A002 - the name is part of the contract
        super().__init__(id, config)
        self._params = parse_params(config.driver_params)
        self._wanted = wanted_of(self._params)
        address, credential = parse_address(config.uri), parse_credential(config.credential)
        self._control = Control(Server(address, credential, self._params))
        self._memory = Memory(self.state_dir)
        self._lease: slot.Lease | None = None
        self._stream: ReplicationStream | None = None
        self._published: publication.Publication | None = None
        self._identity = ""
        self._untold: int | None = None
        self._unsaved: dict[str, str] | None = None
        self._opened_at = 0
        self._problems: list[dict[str, str]] = []
        self._saving = threading.Lock()

    @property
    def _own_name(self) -> str:
        return own_name(self.id)

    @property
    def _slot_name(self) -> str:
        return self._params.slot or self._own_name

    def _tables(self, types: Types) -> list[Table]:
        return read_tables(self._control.query, self._wanted, types)

    def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> tuple[Iterator[EventBase], bool]:
        """
        Open the replication slot; see `SourceDriver.get_message_iterator`.
        """
        self._end_stream()
        control = self._control
        types = Types(control.query)
        tables = self._tables(types)
        looked_at = control.end_of_log()
        published = publication.ensure(control, self._params.publication, self._own_name, tables)
        self._problems = _problems(tables, published)
        self._published = published
        lease = self._lease = self._lease or slot.Lease(control, self._slot_name)
        wanted = boundary_of(start_position) if start_position >= 0 else None
        found = slot.find(control, lease.name)
        if found is not None and found.is_lost:
            slot.drop(control, lease.name)
            found = None
        lost = False
        if found is None:
            start = slot.create(control, lease.name).confirmed
            lost = wanted is not None
        else:
            now = control.end_of_log()
            if wanted is not None and found.confirmed <= wanted <= now:
                start = wanted
            else:
                start, lost = now, wanted is not None
        changed = self._untold is not None
        if self._untold is not None:
            # What happened untold lies before this place; a snapshot brings it.
            start, lost, self._untold = (start if lost else self._untold), True, None
        stream = self._open(lease.name, start, published.name, tables, types, kwargs)
        self._identity = stream.identity
        states = _states(tables, published)
        known = self._memory.load(stream.identity)
        if known is not None and start_position >= 0 and difference(known, states):
            lost = changed = True  # tables changed while nobody looked
        if changed:
            # What the stream tells of rows up to here may be older than what was done to them untold.
            stream.tables_true_from = looked_at
        self._unsaved = states if states != known else None
        self._opened_at = start
        self._stream = stream
        watch = CatalogWatch(stream, states, lambda: self._look(published))
        return self._watched(stream, watch), lost

    def _open(
        self,
        slot_name: str,
        start: int,
        publication_name: str,
        tables: list[Table],
        types: Types,
        kwargs: dict[str, Any],
    ) -> ReplicationStream:
        stop = kwargs.get("stop_event") or threading.Event()
        deadline = time.monotonic() + _LONGEST_TAKEN_S
        while True:
            try:
                return ReplicationStream(
                    self._control,
                    self._wanted,
                    {(table.schema, table.name): table for table in tables},
                    types,
                    slot_name,
                    publication_name,
                    start,
                    stop,
                    memory=self._memory,
                    required=kwargs.get("required_fields"),
                )
            except ServerSaid as exc:
                if not slot.is_taken(exc):
                    raise
                # The server may take a moment to notice that the reader before went away.
                if time.monotonic() > deadline or stop.wait(0.05):
                    raise ConnectionLost(
                        f"another connection reads the replication slot {slot_name!r}: {exc.message}",
                        hint="stop the other agent, or give this source a slot of its own: `driver_params: {slot: ...}`",
                        context=exc.context,
                    ) from None

    def _look(self, published: publication.Publication) -> States:
        tables = self._tables(Types(self._control.query))
        now = publication.find(self._control, published.name, is_own=published.is_own) or published
        self._problems = _problems(tables, now)
        # A table that the driver's own publication does not hold yet counts: opening the stream anew puts it in.
        return _states(tables, None if published.is_own else now)

    def _watched(self, stream: ReplicationStream, watch: CatalogWatch) -> Iterator[EventBase]:
        try:
            yield from stream
        except RowsUntold as exc:
            self._untold = exc.position
            raise
        except ServerSaid as exc:
            if exc.sqlstate in (NO_SUCH_OBJECT, NOT_IN_THAT_STATE):
                # The publication was not there at this place of the log, or the slot was invalidated: neither mends itself.
                stream.close()
                slot.drop(self._control, self._slot_name if self._lease is None else self._lease.name)
            raise
        finally:
            watch.close()
            stream.close()

    def _end_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()

    def get_snapshot_iterator(self, **kwargs: Any) -> Iterator[EventBase]:
        """
        Read tables in chunks; see `SourceDriver.get_snapshot_iterator`. `where` is SQL, for every table that is read.
        """
        stream = self._stream
        if stream is not None and stream.closed:
            raise ConnectionLost("the message stream is not open", hint="the snapshot goes on when it is")
        return Snapshot(
            self._control,
            self._wanted,
            stream,
            kwargs.get("stop_event") or threading.Event(),
            batch_size=kwargs.get("batch_size") or _BATCH,
            rows_at_once=self._params.rows_at_once,
            tables=kwargs.get("tables"),
            where=kwargs.get("where"),
            token=kwargs.get("resume_token"),
            required=kwargs.get("required_fields"),
            published=None if self._published is None else self._published.tables,
        ).chunks()

    def high_watermark(self) -> int | None:
        """
        Return the end of the log: what is committed by now lies before it.
        """
        end = self._control.end_of_log()
        if self._stream is not None:
            self._stream.await_mark(end)
        return end

    def acknowledge(self, position: int) -> None:
        """
        Let the server remove its log up to a position; see `SourceDriver.acknowledge`.
        """
        stream = self._stream
        if stream is None or position < 0:
            return
        boundary = boundary_of(position)
        if boundary > self._opened_at:
            # Invariant: whoever was told that tables had changed has taken note of it by now.
            with self._saving:
                states, self._unsaved = self._unsaved, None
            if states is not None:
                self._memory.save(self._identity, states)
        stream.acknowledge(boundary)

    def is_position_available(self, position: int) -> bool:
        """
        Tell whether the slot still has what came after a position.
        """
        if position < 0:
            return False
        found = slot.find(self._control, self._slot_name)
        if found is None or found.is_lost:
            return False
        return found.confirmed <= boundary_of(position) <= self._control.end_of_log()

    def incarnation(self) -> str:
        """
        Name the server and the history of its log: system identifier and timeline.
        """
        if not self._identity:
            self._identity = self._control.identity()
        return self._identity

    def status(self) -> dict[str, Any]:
        """
        Return where the stream is, and which tables are left out.
        """
        status: dict[str, Any] = {"problems": list(self._problems), "slot": self._slot_name}
        stream = self._stream
        if stream is not None:
            status |= {"lsn": stream.passed.boundary, "transactions": stream.transactions}
        return status

    async def clean_up(self) -> None:
        """
        Drop the slot and the publication that the driver has made; see `SourceDriver.clean_up`.
        """
        await asyncio.to_thread(self._clean_up)

    def _clean_up(self) -> None:
        self._close()
        for name in (self._slot_name, *slot.copies(self._control, self._slot_name)):
            slot.drop(self._control, name)
        if self._params.publication is None:
            publication.drop(self._control, self._own_name)
        self._control.close()

    async def close(self) -> None:
        """
        Let go of every connection. May be called twice.
        """
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._end_stream()
        self._stream = None
        lease, self._lease = self._lease, None
        if lease is not None:
            try:
                if lease.is_copy:
                    slot.drop(self._control, lease.name)
            except ConnectionLost as exc:
                log.info("the copy %r of the slot stays until the slot is opened again: %s", lease.name, exc)
            finally:
                lease.release()
        self._control.close()

    @classmethod
    async def get_available_fields(
        cls, *, uri: str, credential: Any = None, driver_params: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """
        Return the columns of every wanted table as `schema.table.column`.
        """
        return await setup.available_fields(uri, credential, driver_params)

    @classmethod
    async def test_connection(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Sign in, and look at the version.
        """
        return await setup.ask(uri, admin_creds or credential, driver_params, setup.check_connection)

    @classmethod
    async def check_privileges(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Check that the user may read tables and the log, and that there is a publication or may be one.
        """
        return await setup.ask(uri, credential or admin_creds, driver_params, setup.check_rights)

    @classmethod
    async def check_runtime_params(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Check that the server writes what is needed, and has a slot left.
        """
        return await setup.ask(uri, credential or admin_creds, driver_params, setup.check_settings)

    @classmethod
    async def create_agent_user(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Make the user that the agent is to use, and the publication.
        """
        return await setup.make_user(uri, admin_creds, credential, driver_params)

    @classmethod
    async def get_wizard_steps(cls) -> dict[str, Any]:
        """
        Return the steps of the wizard.
        """
        return setup.wizard_steps()


def _states(tables: list[Table], published: publication.Publication | None) -> dict[str, str]:
    return {
        table.full_name: table.state
        for table in tables
        if table.why_not is None and (published is None or (table.schema, table.name) in published.tables)
    }


def _problems(tables: list[Table], published: publication.Publication) -> list[dict[str, str]]:
    unreadable = [
        {"where": table.full_name, "what": f"{table.why_not[0]}; its rows are left out", "hint": table.why_not[1]}
        for table in tables
        if table.why_not is not None
    ]
    unpublished = [
        {
            "where": table.full_name,
            "what": f"the publication {published.name!r} does not hold it: its rows are left out",
            "hint": publication.add_sql(published.name, [table]),
        }
        for table in published.missing(tables)
    ]
    return unreadable + unpublished
