"""
Connections to the server through libpq (psycopg's wrapper of it), never blocking inside the library: every wait is ours, with a
deadline and an ear for the end.
"""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from psycopg import OperationalError, pq
from psycopg.conninfo import make_conninfo

from fustor_core.errors import ConnectionLost
from fustor_core.models.config import PasswdCredential
from fustor_source_postgres.config import Address, PostgresParams
from fustor_source_postgres.faults import fault_of

Rows = list[tuple[str | None, ...]]

_SETTINGS: Final = {
    "DateStyle": "ISO,YMD",
    "IntervalStyle": "iso_8601",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "lc_messages": "C",
    "search_path": "pg_catalog",
    "standard_conforming_strings": "on",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
}
"""
How values are written as text must be the same on every connection: snapshot and stream are compared.
"""
_ROLE_LACKS: Final = "lc_messages"  # only a superuser may set it
_SLICE_S: Final = 0.25
_FATAL: Final = pq.ExecStatus.FATAL_ERROR


class Server:
    """
    One database and who reads it: opens connections.
    """

    def __init__(self, address: Address, credential: PasswdCredential, params: PostgresParams) -> None:
        self.address = address
        self.user = credential.user
        self.connect_timeout_s = params.connect_timeout_s
        self.read_timeout_s = params.read_timeout_s
        self._credential = credential
        self._params = params

    def connect(self, *, replication: bool = False, is_over: Callable[[], bool] = lambda: False) -> Link:
        """
        Open a connection in UTC.

        Args:
            replication: For the replication protocol (it answers plain queries too).
            is_over: Asked now and then while waiting; ends the wait.

        Raises:
            FustorError: See `fustor_source_postgres.faults`.
        """
        return Link(self, self._conninfo(replication=replication).encode(), is_over)

    def _conninfo(self, *, replication: bool) -> str:
        params, secret = self._params, self._credential.passwd
        options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items() if name != _ROLE_LACKS)
        given: dict[str, Any] = {
            "host": self.address.host,
            "port": self.address.port,
            "dbname": self.address.database,
            "user": self.user,
            "client_encoding": "UTF8",
            "application_name": "fustor",
            "options": options,
            "gssencmode": "disable",
            # A network that swallows everything is noticed within a minute, also while nothing is sent.
            "keepalives_idle": 20,
            "keepalives_interval": 10,
            "keepalives_count": 4,
            "tcp_user_timeout": 60_000,
        }
        if secret is not None:
            given["password"] = secret.get_secret_value()
        if params.tls == "off":
            given["sslmode"] = "disable"
        elif params.ca_file is not None:
            given["sslmode"] = "verify-full"
            given["sslrootcert"] = str(Path(params.ca_file).expanduser())
        else:
            given["sslmode"] = "require" if params.tls == "on" else "prefer"
        if replication:
            given["replication"] = "database"
        return make_conninfo("", **given)


class Link:
    """
    One connection. Not safe for several threads at a time.

    Raises:
        FustorError: It can't be made.
    """

    def __init__(self, server: Server, conninfo: bytes, is_over: Callable[[], bool]) -> None:
        self.server = server
        self.closed = False
        self._is_over = is_over
        self._pg = pq.PGconn.connect_start(conninfo)
        self._connect(server.connect_timeout_s)
        self._pg.nonblocking = 1
        self.poller = select.poll()
        self.poller.register(self._pg.socket, select.POLLIN)
        self.next_data = self._pg.get_copy_data
        """
        libpq's own: (1) -> (bytes, data); 0 = nothing yet, -1 = the end.
        """

    def _connect(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            status = self._pg.connect_poll()
            if status == pq.PollingStatus.OK:
                return
            if status == pq.PollingStatus.FAILED:
                said = self._pg.get_error_message()
                self.close()
                raise self._fault("", said, "connecting")
            left = deadline - time.monotonic()
            if left <= 0 or self._is_over():
                self.close()
                raise self._fault("", f"no answer within {timeout_s:g} s", "connecting")
            poller = select.poll()
            poller.register(self._pg.socket, select.POLLIN if status == pq.PollingStatus.READING else select.POLLOUT)
            poller.poll(min(left, _SLICE_S) * 1000)

    def _fault(self, sqlstate: str, said: str, doing: str) -> Exception:
        return fault_of(sqlstate, said, doing, str(self.server.address), self.server.user)

    def lost(self, doing: str, why: str = "") -> ConnectionLost:
        """
        Return the error for a connection that broke.
        """
        said = why or self._pg.get_error_message() or "the server closed the connection"
        return ConnectionLost(
            f"{doing} at {self.server.address}: {' '.join(said.split())}",
            hint="the agent connects again and goes on where it was",
            context={"server": str(self.server.address)},
        )

    def query(self, sql: str, doing: str = "asking", *, timeout_s: float | None = None) -> Rows:
        """
        Run statements; return the rows of the last one as text.

        Raises:
            FustorError: See `fustor_source_postgres.faults`.
        """
        result = self._run(sql, doing, timeout_s)
        return [
            tuple(None if (v := result.get_value(r, c)) is None else v.decode() for c in range(result.nfields))
            for r in range(result.ntuples)
        ]

    def start_copy(self, sql: str, doing: str, *, timeout_s: float | None = None) -> None:
        """
        Run a COPY or START_REPLICATION, whose data `next_data` then gives.

        Raises:
            FustorError: See `fustor_source_postgres.faults`.
        """
        self._run(sql, doing, timeout_s)

    def _run(self, sql: str, doing: str, timeout_s: float | None) -> Any:
        try:
            self._pg.send_query(sql.encode())
            self.flush(doing)
            return self._last_result(doing, timeout_s or self.server.read_timeout_s)
        except OperationalError as exc:
            raise self.lost(doing, str(exc)) from None

    def _last_result(self, doing: str, timeout_s: float) -> Any:
        deadline = time.monotonic() + timeout_s
        last: Any = None
        failed: Any = None
        while True:
            while self._pg.is_busy():
                self._wait_for_input(doing, deadline, timeout_s)
            result = self._pg.get_result()
            if result is None:
                break
            last = result
            if result.status == _FATAL:
                failed = failed or result
            if result.status in (pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH):
                break
        if failed is not None:
            self._raise(failed, doing)
        if last is None:
            raise self.lost(doing)
        return last

    def _wait_for_input(self, doing: str, deadline: float, timeout_s: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            self._cancel()
            raise self.lost(doing, f"no answer within {timeout_s:g} s")
        if self._is_over():
            self._cancel()
            raise self.lost(doing, "it was stopped")
        if self.poller.poll(min(left, _SLICE_S) * 1000):
            self.consume(doing)

    def _raise(self, result: Any, doing: str) -> None:
        code = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        said = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode() or result.get_error_message()
        if not code:
            raise self.lost(doing, said)
        raise self._fault(code, said, doing)

    def _cancel(self) -> None:
        """
        Ask the server to give up what it does: nobody waits for it any more.
        """
        try:
            self._pg.get_cancel().cancel()
        except OperationalError:
            self.close()  # the server is away: then nothing runs there either

    def consume(self, doing: str) -> None:
        """
        Take in what has arrived.

        Raises:
            ConnectionLost: The connection broke.
        """
        try:
            self._pg.consume_input()
        except OperationalError as exc:
            raise self.lost(doing, str(exc)) from None

    def wait(self, timeout_s: float, doing: str) -> bool:
        """
        Wait for data, take it in; False when nothing came in time.

        Raises:
            ConnectionLost: The connection broke.
        """
        if not self.poller.poll(timeout_s * 1000):
            return False
        self.consume(doing)
        return True

    def end_of_copy(self, doing: str) -> None:
        """
        Take the result after the last data of a COPY.

        Raises:
            FustorError: The copy failed.
        """
        self._last_result(doing, self.server.read_timeout_s)

    def send(self, data: bytes, doing: str) -> None:
        """
        Send data within a copy.

        Raises:
            ConnectionLost: The connection broke.
        """
        try:
            self._pg.put_copy_data(data)
        except OperationalError as exc:
            raise self.lost(doing, str(exc)) from None
        self.flush(doing)

    def flush(self, doing: str) -> None:
        """
        Send what is buffered; what the socket does not take now goes with the next call.

        Raises:
            ConnectionLost: The connection broke.
        """
        try:
            deadline = time.monotonic() + self.server.read_timeout_s
            while self._pg.flush():
                poller = select.poll()
                poller.register(self._pg.socket, select.POLLIN | select.POLLOUT)
                for _, event in poller.poll(_SLICE_S * 1000):
                    if event & select.POLLIN:
                        self._pg.consume_input()
                if time.monotonic() > deadline:
                    raise self.lost(doing, "the server does not take what is sent")
        except OperationalError as exc:
            raise self.lost(doing, str(exc)) from None

    @property
    def version(self) -> int:
        """
        The server's version: 150019 for 15.19.
        """
        return self._pg.server_version

    @property
    def is_broken(self) -> bool:
        """
        Whether nothing can be asked here any more.
        """
        return self.closed or self._pg.status != pq.ConnStatus.OK

    def close(self) -> None:
        """
        Let go. May be called twice.
        """
        if not self.closed:
            self.closed = True
            self._pg.finish()
