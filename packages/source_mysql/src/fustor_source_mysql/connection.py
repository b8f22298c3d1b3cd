"""
Connections to the server: sign-in by PyMySQL, and a reader of raw packets for what must be fast.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

import pymysql

from fustor_core.errors import ConfigError, ConnectionLost, FustorError
from fustor_core.models.config import PasswdCredential
from fustor_source_mysql.config import Address, MysqlParams, wanted_of
from fustor_source_mysql.faults import Reader, fault_of, server_faults

Connection = Any  # PyMySQL's; its stubs leave out the socket, which `Packets` reads

_READ_BYTES: Final = 256 * 1024
LARGEST_PACKET: Final = 0xFFFFFF


class Server:
    """
    One server and who reads it: opens connections.
    """

    def __init__(self, address: Address, credential: PasswdCredential, params: MysqlParams) -> None:
        self.address = address
        self.user = credential.user
        self._credential = credential
        self._params = params
        self._reader = Reader(str(address), credential.user, wanted_of(address, params).schemas)

    def connect(self, *, read_timeout_s: float | None = None) -> Connection:
        """
        Open a connection in UTC.

        Raises:
            FustorError: See `fustor_source_mysql.faults`.
        """
        params, secret = self._params, self._credential.passwd
        with self.faults("connecting"):
            connection: Connection = pymysql.connect(
                host=self.address.host,
                port=self.address.port,
                user=self.user,
                password=b"" if secret is None else secret.get_secret_value().encode(),  # text would be sent as latin1
                charset="utf8mb4",
                connect_timeout=max(1, round(params.connect_timeout_s)),
                read_timeout=read_timeout_s or params.read_timeout_s,
                write_timeout=params.read_timeout_s,
                autocommit=True,
                ssl=self._tls(),
                ssl_disabled=params.tls == "off",
                program_name="fustor",
            )
            if params.tls == "on" and not isinstance(connection._sock, ssl.SSLSocket):
                connection.close()
                raise ConfigError(
                    f"{self.address} does not offer TLS",
                    hint="set TLS up at the server, or `driver_params: {tls: auto}`",
                )
            with connection.cursor() as cursor:
                cursor.execute("SET time_zone = '+00:00', sql_mode = 'NO_BACKSLASH_ESCAPES'")
        return connection

    def _tls(self) -> ssl.SSLContext | None:
        params = self._params
        if params.tls == "off" or (params.tls == "auto" and params.ca_file is None):
            return None
        try:
            context = ssl.create_default_context(
                cafile=None if params.ca_file is None else str(Path(params.ca_file).expanduser())
            )
        except (OSError, ssl.SSLError) as exc:
            raise ConfigError(
                f"`ca_file` {params.ca_file!r} can't be read: {exc}", hint="give a file in PEM form"
            ) from None
        if params.ca_file is None:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def query(self, connection: Connection, sql: str, doing: str = "asking") -> list[tuple[Any, ...]]:
        """
        Run a query; return its rows.

        Raises:
            FustorError: See `fustor_source_mysql.faults`.
        """
        with self.faults(doing), connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def faults(self, doing: str) -> AbstractContextManager[None]:
        """
        Map what the client raises within the block.
        """
        return server_faults(doing, self._reader)

    def fault(self, code: int, said: str, doing: str) -> FustorError:
        """
        Return the error for one that the server has told in a packet.
        """
        return fault_of(code, said, doing, self._reader)


class Packets:
    """
    Raw packets of a connection, many to a system call. Whoever makes one takes the connection over for good.

    Args:
        server: For messages.
        connection: Just opened, nothing under way.
        doing: For messages.
        is_over: Asked now and then while waiting; ends the wait.
    """

    def __init__(
        self,
        server: Server,
        connection: Connection,
        doing: str,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._server = server
        self.connection = connection
        self.doing = doing
        self._is_over = is_over
        self._socket: socket.socket = connection._sock
        self.buffer = b""
        self.at = 0

    def command(self, payload: bytes) -> None:
        """
        Send a command.
        """
        self.buffer, self.at = b"", 0
        with self._server.faults(self.doing):
            self._socket.sendall(struct.pack("<I", len(payload)) + payload)

    def fill(self, timeout_s: float) -> bool:
        """
        Read more from the socket into `buffer`, dropping what lies before `at`; False when nothing came in time.

        Raises:
            ConnectionLost: The server closed the connection.
        """
        with self._server.faults(self.doing):
            self._socket.settimeout(timeout_s)
            try:
                more = self._socket.recv(_READ_BYTES)
            except TimeoutError:
                return False
            if not more:
                raise ConnectionLost(
                    f"{self.doing} at {self._server.address}: the server closed the connection",
                    hint="the agent connects again and goes on where it was",
                )
        self.buffer = self.buffer[self.at :] + more if self.at < len(self.buffer) else more
        self.at = 0
        return True

    def next(self, timeout_s: float) -> bytes | None:
        """
        Return the payload of the next packet; None when it did not come in time, or when it is over.

        Raises:
            FustorError: The connection broke, or the packet is the server's error.
        """
        payload = self.try_next()
        if payload is not None:
            return payload
        deadline = time.monotonic() + timeout_s
        while not self._is_over():
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            if self.fill(min(left, 0.25)):
                payload = self.try_next()
                if payload is not None:
                    return payload
        return None

    def try_next(self) -> bytes | None:
        """
        Return the payload of the next packet when all of it is in `buffer`.
        """
        buffer, at = self.buffer, self.at
        if len(buffer) - at < 4:
            return None
        length = buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16
        end = at + 4 + length
        if end > len(buffer):
            if length > _READ_BYTES:
                self._gather(end - len(buffer))
                return self.try_next()
            return None
        if length == LARGEST_PACKET:
            return self._long()
        self.at = end
        payload = buffer[at + 4 : end]
        if payload[:1] == b"\xff":
            raise self.error(payload)
        return payload

    def is_waiting(self) -> bool:
        """
        Tell whether nothing more has arrived yet (asks the system; data of TLS that was read ahead does not count).
        """
        with self._server.faults(self.doing):
            poll = select.poll()  # select() takes no descriptor above 1,023
            poll.register(self._socket, select.POLLIN)
            return not poll.poll(0)

    def _gather(self, missing: int) -> None:
        """
        Read a large packet to its end without joining the buffer for each piece.
        """
        pieces = [self.buffer[self.at :]]
        deadline = time.monotonic() + 60.0
        with self._server.faults(self.doing):
            self._socket.settimeout(1.0)
            while missing > 0 and not self._is_over():
                try:
                    piece = self._socket.recv(min(missing, 4 << 20))
                except TimeoutError:
                    if time.monotonic() > deadline:
                        raise
                    continue
                if not piece:
                    raise EOFError("the server closed the connection")
                pieces.append(piece)
                missing -= len(piece)
        self.buffer, self.at = b"".join(pieces), 0

    def _long(self) -> bytes | None:
        """
        Join packets of 16 MiB, which belong together up to the first shorter one.
        """
        parts: list[bytes] = []
        at = self.at
        while True:
            buffer = self.buffer
            if len(buffer) - at < 4:
                self._gather_to(at, 4)
                at = 0 if self.at == 0 else at
                buffer = self.buffer
            length = buffer[at] | buffer[at + 1] << 8 | buffer[at + 2] << 16
            if len(buffer) - at < 4 + length:
                self._gather_to(at, 4 + length)
                at, buffer = 0, self.buffer
            parts.append(buffer[at + 4 : at + 4 + length])
            at += 4 + length
            self.at = at
            if length < LARGEST_PACKET:
                return b"".join(parts)

    def _gather_to(self, at: int, size: int) -> None:
        self.at = at
        self._gather(size - (len(self.buffer) - at))
        if len(self.buffer) < size:
            raise ConnectionLost("the stream was ended in the middle of an event")

    def error(self, payload: bytes) -> Exception:
        """
        Return the error that an error packet tells.
        """
        (code,) = struct.unpack_from("<H", payload, 1)
        text = payload[3:]
        if text[:1] == b"#":
            text = text[6:]
        return self._server.fault(code, text.decode("utf-8", "replace"), self.doing)

    def close(self) -> None:
        """
        Close the connection without a farewell: the server may be in the middle of sending.
        """
        try:
            self._socket.close()
        finally:
            self.connection._force_close()
