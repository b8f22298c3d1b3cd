"""
The driver: puts server, stream and snapshot together, and answers for positions.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

from fustor_core.drivers import SourceDriver
from fustor_core.errors import RowsUntold
from fustor_core.models.config import SourceConfig
from fustor_core.models.event import EventBase
from fustor_source_mysql import setup
from fustor_source_mysql.config import parse_address, parse_credential, parse_params, wanted_of
from fustor_source_mysql.connection import Server
from fustor_source_mysql.control import Control
from fustor_source_mysql.lineage import Lineage
from fustor_source_mysql.position import LARGEST_DUMP_POSITION, Boundary, boundary_of
from fustor_source_mysql.snapshot import Snapshot
from fustor_source_mysql.stream import BinlogStream

_BATCH = 2000


class MysqlDriver(SourceDriver):
    """
    Reads a MariaDB or MySQL server: rows by SELECT, changes from the binary log.

    Raises:
        ConfigError: Address, credential or `driver_params` can't be used.
    """

    def __init__(self, id: str, config: SourceConfig) -> None:  # noqa: A002 - the name is part of the contract
        super().__init__(id, config)
        self._params = parse_params(config.driver_params)
        self._address = parse_address(config.uri)
        self._wanted = wanted_of(self._address, self._params)
        self._control = Control(Server(self._address, parse_credential(config.credential), self._params))
        self._known: Lineage | None = None
        self._lock = threading.Lock()
        self._stream: BinlogStream | None = None
        self._untold: Boundary | None = None
        self._reset = False
        self._keyless: set[str] = set()

    def _lineage(self) -> Lineage:
        with self._lock:
            if self._known is None:
                self._known = Lineage(self.state_dir)
            return self._known

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
        if self._untold is not None and (start_position < 0 or start <= self._untold):
            # The rows that a statement changed untold: go on behind it, and let a snapshot bring them.
            start, lost = self._untold if not lost else start, True
        self._untold = None
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
            server_id=self._params.server_id,
        )
        self._stream = stream
        return self._watched(stream), lost

    def _watched(self, stream: BinlogStream) -> Iterator[EventBase]:
        try:
            yield from stream
        except RowsUntold as exc:
            self._untold = boundary_of(exc.position)
            raise
        finally:
            stream.close()

    def _saw_file(self, number: int, begun: int) -> bool:
        fits = self._lineage().fits(number, begun)
        if not fits:
            self._reset = True
        return fits

    def _saw_keyless(self, schema: str, table: str) -> None:
        self._keyless.add(f"{schema}.{table}")

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
        return Snapshot(
            self._control,
            self._wanted,
            self._stream,
            kwargs.get("stop_event") or threading.Event(),
            batch_size=kwargs.get("batch_size") or _BATCH,
            rows_at_once=self._params.rows_at_once,
            tables=kwargs.get("tables"),
            where=kwargs.get("where"),
            token=kwargs.get("resume_token"),
            required=kwargs.get("required_fields"),
            on_keyless=self._saw_keyless,
        ).chunks()

    def high_watermark(self) -> int | None:
        """
        Return the end of the binary log: what is committed by now lies before it.
        """
        return self._control.newest()[1].index

    def is_position_available(self, position: int) -> bool:
        """
        Tell whether the log still has what came after a position.
        """
        if position < 0:
            return False
        return self._place(position, self._control.newest()[1]) is not None

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
        problems = [
            {
                "where": table,
                "what": "the table has neither a primary key nor a unique index without NULLs: its rows are left out",
                "hint": f"ALTER TABLE {table} ADD PRIMARY KEY (...); or name it in `exclude`",
            }
            for table in sorted(self._keyless)
        ]
        stream = self._stream
        if stream is None:
            return {"problems": problems}
        place = stream.boundary
        return {
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
