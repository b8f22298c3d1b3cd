"""
The driver: puts server, publication, slot, stream and snapshot together, and answers for positions.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from fustor_core.drivers import SourceDriver
from fustor_core.errors import ConfigError, ConnectionLost, FustorError
from fustor_core.models.config import SourceConfig
from fustor_core.models.event import EventBase
from fustor_core.selection import Selection, differing, of_tables
from fustor_source_postgres import by_key, publication, setup, slot
from fustor_source_postgres.config import (
    PostgresParams,
    own_name,
    parse_address,
    parse_credential,
    parse_params,
    wanted_of,
)
from fustor_source_postgres.connection import Server
from fustor_source_postgres.control import Control
from fustor_source_postgres.faults import NO_SUCH_OBJECT, NOT_IN_THAT_STATE, ServerSaid
from fustor_source_postgres.history import EVERY_TABLE, UNKNOWN, States, TableHistory, TableName
from fustor_source_postgres.keyless import key_sql
from fustor_source_postgres.memory import Memory
from fustor_source_postgres.position import boundary_of, lsn_text
from fustor_source_postgres.schema import Table, Types, estimated_rows, may_leave_values_out, named, read_tables
from fustor_source_postgres.settling import Settling
from fustor_source_postgres.snapshot import Snapshot, compared_types
from fustor_source_postgres.stream import ReplicationStream, TableChange
from fustor_source_postgres.watch import CatalogWatch, Look, differences

log = logging.getLogger(__name__)

_BATCH = 2000
_LONGEST_TAKEN_S = 5.0


class PostgresDriver(SourceDriver):
    """
    Reads a PostgreSQL database: rows by COPY, changes by logical replication.

    Raises:
        ConfigError: Address, credential or `driver_params` can't be used.
    """

    title = "PostgreSQL"
    params_model = PostgresParams

    def __init__(self, id: str, config: SourceConfig) -> None:  # noqa: A002 - the name is part of the contract
        super().__init__(id, config)
        self._params = parse_params(config.driver_params)
        self._wanted = wanted_of(self._params)
        address, credential = parse_address(config.uri), parse_credential(config.credential)
        self._control = Control(Server(address, credential, self._params))
        self._memory = Memory(self.state_dir)
        self._history = TableHistory.of(self.state_dir)
        self._lease: slot.Lease | None = None
        self._stream: ReplicationStream | None = None
        self._published: publication.Publication | None = None
        self._watch: CatalogWatch | None = None
        self._settling = Settling(self._control.snapshot)
        self._identity = ""
        self._problems: list[dict[str, str]] = []
        self._without_key: list[dict[str, str]] = []

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
        self._identity = control.identity()
        types = Types(control.query)
        looked_at = control.end_of_log()
        tables = self._tables(types)
        published = self._publish(tables)
        place = control.end_of_log()
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
        stream = self._open(lease.name, start, published.name, tables, types, kwargs)
        self._identity = stream.identity
        known = None if lost or wanted is None else self._history.at(stream.identity, start_position)
        self._settling = Settling(self._control.snapshot)
        self._settling.go_on(known or {})
        states = self._settling.marked(_states(tables, published))
        as_of: States = states
        if wanted is not None and not lost:
            # Where nobody knows how the tables were at the place, any of them may have changed, or be gone.
            as_of = {EVERY_TABLE: UNKNOWN} if known is None else known
        what = differences(as_of, states)
        self._history.begin(self, stream.identity, max(start, start_position), as_of)
        if what:
            self._tell(stream, Look(looked_at, tables, states), place, what)  # tables changed while nobody looked
        self._stream = stream
        self._watch = watch = CatalogWatch(
            stream, states, self._look, lambda *facts: self._tables_changed(stream, *facts)
        )
        return self._watched(stream, watch), lost

    def _publish(self, tables: Sequence[Table]) -> publication.Publication:
        published = publication.ensure(
            self._control, self._params.publication, self._own_name, tables, before=self._rows_may_leave
        )
        self._list_problems(tables, published)
        self._published = published
        return published

    def _rows_may_leave(self, tables: Collection[TableName]) -> None:
        self._history.note(self._identity, self._control.end_of_log(), tables)

    def _rows_come(self, table: TableName, place: int, is_strange: bool) -> None:
        # Also of tables that an administrator has put into a publication, before any look has found them.
        self._history.note(self._identity, place, [table], in_doubt=is_strange)
        if is_strange and self._watch is not None:
            self._watch.doubt(table, place)

    def _rows_are_read(self, tables: Sequence[Table]) -> None:
        # What was changed since the last look may be changed back before the next one; what was not found is swept.
        watch, place = self._watch, self._control.end_of_log()
        changed = [] if watch is None else watch.otherwise_than(_states(tables, self._published))
        if watch is not None and changed:
            self._history.note(self._identity, place, changed, in_doubt=True)
            for table in changed:
                watch.doubt(table, place)

    def _tables_changed(self, stream: ReplicationStream, before: States, now: Look) -> States:
        self._publish(now.tables)  # a new table must be in it before its rows are read
        self._settling.begin(table for table in now.states if table not in before)
        now = now._replace(states=self._settling.marked(now.states))
        self._tell(stream, now, self._control.end_of_log(), differences(before, now.states))
        return now.states

    def _tell(self, stream: ReplicationStream, now: Look, place: int, what: Mapping[TableName, str]) -> None:
        catalog = {table.place: table for table in now.tables}
        stream.tell(
            TableChange(
                now.place,
                place,
                what,
                catalog,
                lambda index: self._history.told(self, index, now.states, now.place),
            )
        )

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
                    {table.place: table for table in tables},
                    types,
                    slot_name,
                    publication_name,
                    start,
                    stop,
                    on_table=self._rows_come,
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

    def _look(self) -> Look:
        place = self._control.end_of_log()
        tables = self._tables(Types(self._control.query))
        published = self._published
        if published is None or published.is_own:
            # A table that the driver's own publication does not hold yet counts: it is put in.
            return Look(place, tables, self._settling.marked(_states(tables, None)))
        now = publication.find(self._control, published.name, is_own=False) or published
        self._list_problems(tables, now)
        return Look(place, tables, self._settling.marked(_states(tables, now)))

    def _list_problems(self, tables: Sequence[Table], published: publication.Publication) -> None:
        self._problems = _problems(tables, published)
        self._without_key = _without_key(tables, published)

    def _watched(self, stream: ReplicationStream, watch: CatalogWatch) -> Iterator[EventBase]:
        try:
            yield from stream
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
        return self._snapshot(**kwargs).chunks()

    def _snapshot(self, **kwargs: Any) -> Snapshot:
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
            tables_at_once=self._params.tables_at_once,
            tables=kwargs.get("tables"),
            where=kwargs.get("where"),
            token=kwargs.get("resume_token"),
            required=kwargs.get("required_fields"),
            with_keyless=kwargs.get("with_keyless", True),
            published=None if self._published is None else self._published.tables,
            before=self._rows_are_read,
        )

    def read_rows(
        self, event_schema: str, table: str, key: Sequence[str], keys: Sequence[Sequence[Any]], **kwargs: Any
    ) -> Iterator[EventBase] | None:
        """
        Read rows by their keys; see `SourceDriver.read_rows`.
        """
        types = Types(self._control.query)
        tables = read_tables(self._control.query, self._wanted, types, only=(event_schema, table))
        if not tables or not key or tables[0].key != tuple(key):
            return None
        compared = compared_types(self._control, [tables[0].by_name[name] for name in key])
        where = by_key.condition(tables[0], compared, keys)
        return None if where is None else self._snapshot(where=where, **kwargs).rows_of(tables[0])

    def estimate_rows(self, tables: Sequence[str] | None = None) -> dict[str, int] | None:
        """
        Return what the server's statistics say; see `SourceDriver.estimate_rows`.
        """
        return of_tables(estimated_rows(self._control.query, self._wanted), tables)

    def whole_updates(self, event_schema: str, table: str) -> str | None:
        """
        Tell by what the log has of a row's large values; see `SourceDriver.whole_updates`.
        """
        if not may_leave_values_out(self._control.query, event_schema, table):
            return ""
        name = named(event_schema, table)
        return f"An update leaves out large values that did not change. To avoid that, run `ALTER TABLE {name} REPLICA IDENTITY FULL;`."

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
        self._history.passed(position)
        stream.acknowledge(boundary_of(position))

    @classmethod
    def position_text(cls, position: int) -> str:
        """
        Return an LSN as the server writes it: `16/B374D848`.
        """
        return lsn_text(boundary_of(position))

    @classmethod
    def bytes_between(cls, earlier: int, later: int) -> int | None:
        """
        Return how many bytes of the write-ahead log lie between two positions.
        """
        return boundary_of(later) - boundary_of(earlier)

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

    def tables_changed(self, before: SourceConfig) -> list[str] | None:
        """
        Compare what is wanted now with what was; see `SourceDriver.tables_changed`.
        """
        try:
            wanted = wanted_of(parse_params(before.driver_params))
            is_same_database = parse_address(before.uri).database == parse_address(self.config.uri).database
        except ConfigError:
            return None
        if not is_same_database:
            return None
        return differing(self._columns(wanted), self._columns(self._wanted))

    def _columns(self, wanted: Selection) -> dict[str, list[str]]:
        return {
            table.full_name: [column.name for column in table.columns if column.is_wanted]
            for table in read_tables(self._control.query, wanted, Types(self._control.query))
        }

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
        status: dict[str, Any] = {
            "problems": list(self._problems),
            "keyless": list(self._without_key),
            "slot": self._slot_name,
        }
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
        try:
            self._remove_own()
        except FustorError as exc:
            sql = f"SELECT pg_drop_replication_slot('{self._slot_name}');"
            if self._params.publication is None:
                sql += f' DROP PUBLICATION IF EXISTS "{self._own_name}";'
            exc.hint = f"left behind, the slot keeps the server's log growing; once the server is there: {sql}"
            raise

    def _remove_own(self) -> None:
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
        self._history.end(self)
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
    async def get_available_tables(
        cls, *, uri: str, credential: Any = None, driver_params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]] | None:
        """
        Return every wanted table with about how many rows it has.
        """
        return await setup.available_tables(uri, credential, driver_params)

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


def _states(tables: Sequence[Table], published: publication.Publication | None) -> dict[TableName, str]:
    return {
        table.place: table.state
        for table in tables
        if table.why_not is None and (published is None or table.place in published.tables)
    }


def _without_key(tables: Sequence[Table], published: publication.Publication) -> list[dict[str, str]]:
    return [
        {"where": table.full_name, "hint": f"{key_sql(table)} or name it in `exclude`"}
        for table in tables
        if table.why_not is None and not table.key and table.place in published.tables
    ]


def _problems(tables: Sequence[Table], published: publication.Publication) -> list[dict[str, str]]:
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
