"""
The driver: puts server, stream and snapshot together, and answers for positions.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from fustor_core.drivers import SourceDriver
from fustor_core.errors import ConfigError
from fustor_core.models.config import SourceConfig
from fustor_core.models.event import EventBase
from fustor_core.selection import Selection, differing, of_tables
from fustor_source_mysql import by_key, cascades, keyless, setup
from fustor_source_mysql.config import MysqlParams, parse_address, parse_credential, parse_params, wanted_of
from fustor_source_mysql.connection import Server
from fustor_source_mysql.control import Control
from fustor_source_mysql.hidden import HiddenTables
from fustor_source_mysql.lineage import Lineage
from fustor_source_mysql.position import LARGEST_DUMP_POSITION, Boundary, boundary_of
from fustor_source_mysql.prepared import PreparedPlaces
from fustor_source_mysql.schema import Table, estimated_rows, read_tables
from fustor_source_mysql.snapshot import Snapshot
from fustor_source_mysql.stream import BinlogStream

log = logging.getLogger(__name__)

_BATCH = 2000


class MysqlDriver(SourceDriver):
    """
    Reads a MariaDB or MySQL server: rows by SELECT, changes from the binary log.

    Raises:
        ConfigError: Address, credential or `driver_params` can't be used.
    """

    title = "MariaDB / MySQL"
    params_model = MysqlParams

    def __init__(self, id: str, config: SourceConfig) -> None:  # noqa: A002 - the name is part of the contract
        super().__init__(id, config)
        self._params = parse_params(config.driver_params)
        self._address = parse_address(config.uri)
        self._wanted = wanted_of(self._address, self._params)
        self._control = Control(Server(self._address, parse_credential(config.credential), self._params))
        self._known: Lineage | None = None
        self._lock = threading.Lock()
        self._prepared: PreparedPlaces | None = None
        self._stream: BinlogStream | None = None
        self._reset = False
        self._keyless: dict[str, tuple[str, str] | None] = {}
        self._hidden_tables: HiddenTables | None = None
        self._cascaded: dict[tuple[str, str], dict[str, str]] = {}

    def _lineage(self) -> Lineage:
        with self._lock:
            if self._known is None:
                self._known = Lineage(self.state_dir)
            return self._known

    @property
    def _hidden(self) -> HiddenTables:
        with self._lock:
            if self._hidden_tables is None:
                self._hidden_tables = HiddenTables(self._control, self.state_dir, self._wanted.schemas)
            return self._hidden_tables

    def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> tuple[Iterator[EventBase], bool]:
        """
        Open the binary log; see `SourceDriver.get_message_iterator`.
        """
        lineage = self._lineage()
        lineage.adopt(self._control.identity())
        name, newest = self._control.newest()
        wanted_place = None if start_position < 0 else self._place(start_position, newest)
        start = newest if wanted_place is None else wanted_place
        lost = start_position >= 0 and wanted_place is None
        if self._reset or (lost and newest < boundary_of(start_position)):
            self._reset = False
            lineage.begin_anew()
            start, lost = newest, start_position >= 0
        stem = name.rpartition(".")[0]
        stream = BinlogStream(
            self._control,
            self._wanted,
            f"{stem}.{start.file:0{len(name) - len(stem) - 1}}",
            start,
            kwargs.get("stop_event") or threading.Event(),
            required=kwargs.get("required_fields"),
            on_file=self._saw_file,
            on_keyless=self._saw_keyless,
            on_cascade=self._saw_cascade,
            hidden=self._hidden,
            server_id=self._params.server_id,
            prepared=self._places_of(lineage),
        )
        self._stream = stream
        return self._watched(stream), lost

    def _places_of(self, lineage: Lineage) -> PreparedPlaces:
        with self._lock:
            if self._prepared is None or self._prepared.history != lineage.name:
                self._prepared = PreparedPlaces(self.state_dir, lineage.name)
            return self._prepared

    def _watched(self, stream: BinlogStream) -> Iterator[EventBase]:
        try:
            yield from stream
        finally:
            stream.close()

    def _saw_file(self, number: int, begun: int) -> bool:
        fits = self._lineage().fits(number, begun)
        if not fits:
            self._reset = True
        return fits

    def _saw_keyless(self, schema: str, table: str, declared: Table | None) -> bool:
        name = f"{schema}.{table}"
        self._keyless[name] = why = keyless.why_not(declared, name)
        return why is None

    def _saw_cascade(self, child: tuple[str, str], parent: tuple[str, str]) -> None:
        if child not in self._cascaded:
            self._cascaded[child] = problem = cascades.problem(child, parent)
            log.info("%s: %s", problem["where"], problem["what"])

    def _place(self, position: int, newest: Boundary) -> Boundary | None:
        """
        Return where to read from to miss nothing after a position; None when that is gone.
        """
        place = boundary_of(position)
        if place > newest:
            return None
        logs = self._control.logs()
        size = logs.get(place.file)
        if size is None or place.offset > size:
            return None
        if place.offset > LARGEST_DUMP_POSITION:
            return Boundary(place.file + 1, 4) if place.file + 1 in logs else None
        return place

    def get_snapshot_iterator(self, **kwargs: Any) -> Iterator[EventBase]:
        """
        Read tables in chunks; see `SourceDriver.get_snapshot_iterator`. `where` is SQL, for every table that is read.
        """
        return self._snapshot(**kwargs).chunks()

    def _snapshot(self, **kwargs: Any) -> Snapshot:
        return Snapshot(
            self._control,
            self._wanted,
            kwargs.get("stop_event") or threading.Event(),
            batch_size=kwargs.get("batch_size") or _BATCH,
            rows_at_once=self._params.rows_at_once,
            tables_at_once=self._params.tables_at_once,
            tables=kwargs.get("tables"),
            where=kwargs.get("where"),
            token=kwargs.get("resume_token"),
            required=kwargs.get("required_fields"),
            with_keyless=kwargs.get("with_keyless", True),
            on_keyless=self._saw_keyless,
            hidden=self._hidden,
        )

    def read_rows(
        self, event_schema: str, table: str, key: Sequence[str], keys: Sequence[Sequence[Any]], **kwargs: Any
    ) -> Iterator[EventBase] | None:
        """
        Read rows by their keys; see `SourceDriver.read_rows`.
        """
        found = read_tables(self._control.query, self._wanted, event_schema, table)
        if not found or found[0].key != tuple(key) or found[0].place in self._hidden:
            return None
        where = by_key.condition(found[0], keys)
        return None if where is None else self._snapshot(where=where, **kwargs).rows_of(found[0])

    def estimate_rows(self, tables: Sequence[str] | None = None) -> dict[str, int] | None:
        """
        Return what the server's statistics say; see `SourceDriver.estimate_rows`.
        """
        return of_tables(estimated_rows(self._control.query, self._wanted), tables)

    def whole_updates(self, event_schema: str, table: str) -> str | None:
        """
        Tell by how much of a row the server logs; see `SourceDriver.whole_updates`.
        """
        image = self._control.variable("binlog_row_image") or "FULL"
        return "" if image.upper() == "FULL" else "To avoid that, set `binlog_row_image = FULL` at the server."

    def high_watermark(self) -> int | None:
        """
        Return the end of the binary log: what is committed by now lies before it.
        """
        return self._control.newest()[1].index

    @classmethod
    def position_text(cls, position: int) -> str:
        """
        Return number of the log file and bytes in it: `000012:345`.
        """
        return str(boundary_of(position))

    @classmethod
    def bytes_between(cls, earlier: int, later: int) -> int | None:
        """
        Return how many bytes of the log lie between two places of one file; how long files are no position tells.
        """
        begin, end = boundary_of(earlier), boundary_of(later)
        return end.offset - begin.offset if begin.file == end.file else None

    def is_position_available(self, position: int) -> bool:
        """
        Tell whether the log still has what came after a position.
        """
        if position < 0:
            return False
        return self._place(position, self._control.newest()[1]) is not None

    def tables_changed(self, before: SourceConfig) -> list[str] | None:
        """
        Compare what is wanted now with what was; see `SourceDriver.tables_changed`.
        """
        try:
            wanted = wanted_of(parse_address(before.uri), parse_params(before.driver_params))
        except ConfigError:
            return None
        return differing(self._columns(wanted), self._columns(self._wanted))

    def _columns(self, wanted: Selection) -> dict[str, list[str]]:
        return {
            f"{table.schema}.{table.name}": [column.name for column in table.columns if column.is_wanted]
            for table in read_tables(self._control.query, wanted)
        }

    def incarnation(self) -> str:
        """
        Name the server and the history of its logs.
        """
        lineage = self._lineage()
        if not lineage.id:
            lineage.adopt(self._control.identity())
        return lineage.name

    def status(self) -> dict[str, Any]:
        """
        Return where the stream is, and which tables are left out.
        """
        known = sorted(self._keyless.copy().items())
        problems = [{"where": name, "what": why[0], "hint": why[1]} for name, why in known if why is not None]
        problems += self._hidden.problems()
        problems += [problem for _, problem in sorted(self._cascaded.copy().items())]
        without = [
            {"where": name, "hint": f"{keyless.key_sql(name)} or name it in `exclude`"}
            for name, why in known
            if why is None
        ]
        stream = self._stream
        if stream is None:
            return {"problems": problems, "keyless": without}
        place = stream.boundary
        return {
            "keyless": without,
            "log_file": place.file,
            "log_offset": place.offset,
            "log_events": stream.events,
            "problems": problems,
        }

    async def close(self) -> None:
        """
        Let go of every connection. May be called twice.
        """
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()
        await asyncio.to_thread(self._control.close)

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
        Sign in, and look at version and database.
        """
        return await setup.ask(uri, admin_creds or credential, driver_params, setup.check_connection)

    @classmethod
    async def check_privileges(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Check that the user may read tables and the binary log.
        """
        return await setup.ask(uri, credential or admin_creds, driver_params, setup.check_rights)

    @classmethod
    async def check_runtime_params(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Check that the server logs rows, with their names.
        """
        return await setup.ask(uri, credential or admin_creds, driver_params, setup.check_settings)

    @classmethod
    async def create_agent_user(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Make the user that the agent is to use.
        """
        return await setup.make_user(uri, admin_creds, credential, driver_params)

    @classmethod
    async def get_wizard_steps(cls) -> dict[str, Any]:
        """
        Return the steps of the wizard.
        """
        return setup.wizard_steps()
