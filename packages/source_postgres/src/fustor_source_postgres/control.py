"""
Small questions to the server, over one kept connection that several threads share.
"""

from __future__ import annotations

import threading

from fustor_core.errors import ConnectionLost
from fustor_source_postgres.connection import Link, Rows, Server
from fustor_source_postgres.faults import is_stopping
from fustor_source_postgres.position import lsn_of
from fustor_source_postgres.visibility import TransactionSnapshot

_MARK = "BEGIN; SET LOCAL synchronous_commit = local; SELECT pg_logical_emit_message(true, 'fustor', 'mark'); COMMIT"


class Control:
    """
    Asks the server. Safe from every thread; connects when first asked, and anew when the connection was lost.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._lock = threading.Lock()
        self._link: Link | None = None

    def query(self, sql: str, doing: str = "asking") -> Rows:
        """
        Run statements; return the rows of the last one.

        Raises:
            FustorError: See `fustor_source_postgres.faults`.
        """
        with self._lock:
            kept = self._link
            ended: ConnectionLost | None = None
            if kept is not None:
                try:
                    return kept.query(sql, doing)
                except ConnectionLost as exc:
                    if not kept.is_broken:
                        raise
                    ended = exc
                    self._drop()
            try:
                self._link = self.server.connect()
            except ConnectionLost as exc:
                if ended is not None and is_stopping(ended):
                    raise ended from exc
                raise
            return self._link.query(sql, doing)

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()

    def one(self, sql: str, doing: str = "asking") -> str:
        """
        Return the only value of a query's only row; "" for NULL.
        """
        ((value,),) = self.query(sql, doing)
        return value or ""

    def snapshot(self) -> TransactionSnapshot:
        """
        Return what can be seen now.
        """
        return TransactionSnapshot.parse(self.one("SELECT pg_current_snapshot()"))

    @property
    def version(self) -> int:
        """
        The server's version: 150019 for 15.19.
        """
        return int(self.one("SHOW server_version_num"))

    def end_of_log(self) -> int:
        """
        Return the LSN behind everything that was written to the log by now, also what is not on disk yet.
        """
        return lsn_of(self.one("SELECT pg_current_wal_insert_lsn()", "reading the log's position"))

    def emit_mark(self) -> None:
        """
        Write something harmless to the log and have it flushed, with all that stands before it. Does not wait for standbys.
        """
        self.query(_MARK, "writing a mark to the log")

    def identity(self) -> str:
        """
        Name the server and the history of its log: system identifier and timeline.
        """
        ((system, timeline),) = self.query(
            "SELECT system_identifier, timeline_id FROM pg_control_system(), pg_control_checkpoint()", "identifying"
        )
        return f"{system}/{timeline}"

    def close(self) -> None:
        """
        Let go of the connection. May be called twice.
        """
        with self._lock:
            self._drop()
