"""
What goes wrong between the driver and the server, as the errors that tell the agent what to do about it.

| what the server or the network says | error |
|---|---|
| wrong user or password (1045, 1698), unknown plugin | AuthenticationFailed |
| a right is missing (1044, 1142, 1143, 1227, 1370) | PermissionMissing, with the GRANT on what is wanted |
| no such database (1049), binary log off (1236 without one), anything about set-up | ConfigError |
| everything that may pass: connection gone, server starting or stopping, lock timeouts, killed queries | ConnectionLost |
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pymysql
from pymysql.constants import ER

from fustor_core.errors import AuthenticationFailed, ConfigError, ConnectionLost, FustorError, PermissionMissing
from fustor_core.outcome import PASSWORD, REMEDY
from fustor_source_mysql.rights import account, grants, log_grant

_WRONG_PASSWORD = {ER.ACCESS_DENIED_ERROR, 1698, 1275, 2059, 2061}
_LOG_RIGHT = 1227  # ER_SPECIFIC_ACCESS_DENIED_ERROR: a right on the whole server, which the log alone needs
_MISSING_RIGHT = {ER.DBACCESS_DENIED_ERROR, ER.TABLEACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR, _LOG_RIGHT, 1370}
_NO_DATABASE = {ER.BAD_DB_ERROR}
# The server shuts down, or ends this connection.
_ENDING = {1053, 1152, 1927, 3169, 4031, *range(1154, 1162)}
GONE_LOG = 1236  # ER_MASTER_FATAL_ERROR_READING_BINLOG


class Reader(NamedTuple):
    """
    Who reads what, for messages and the SQL in them.

    Attributes:
        where: The server.
        user: Who signs in there.
        databases: Those that are wanted; empty = whatever the user may read.
    """

    where: str
    user: str
    databases: frozenset[str]


@contextmanager
def server_faults(doing: str, reader: Reader) -> Iterator[None]:
    """
    Map what the client library raises.

    Args:
        doing: What was tried, for the message: "connecting", "reading the binary log".
        reader: Who tried.

    Raises:
        FustorError: As the table above says.
    """
    where = reader.where
    try:
        yield
    except FustorError:
        raise
    except pymysql.err.MySQLError as exc:
        code = exc.args[0] if exc.args and isinstance(exc.args[0], int) else 0
        said = str(exc.args[1]) if len(exc.args) > 1 else str(exc)
        raise fault_of(code, said, doing, reader) from None
    except (OSError, EOFError, struct.error) as exc:
        raise ConnectionLost(
            f"{doing} at {where}: the connection broke: {exc or type(exc).__name__}",
            hint="the agent connects again and goes on where it was",
            context={"server": where},
        ) from None


def fault_of(code: int, said: str, doing: str, reader: Reader) -> FustorError:
    """
    Return the error for one of the server's.
    """
    where, user, databases = reader
    context = {"server": where, "code": code}
    if code in _WRONG_PASSWORD:
        return AuthenticationFailed(
            f"{where} does not let {user!r} in: {said}",
            hint="mend user and password of this source; the server may also allow the user from other hosts only",
            context={
                **context,
                REMEDY: [f"CREATE USER {account(user)} IDENTIFIED BY '{PASSWORD}';", *grants(user, databases)],
            },
        )
    if code in _MISSING_RIGHT:
        sql = [log_grant(user)] if code == _LOG_RIGHT else grants(user, databases)
        return PermissionMissing(
            f"{doing} at {where}: {user!r} may not: {said}",
            hint=f"let an administrator run: {' '.join(sql)}",
            context={**context, REMEDY: sql},
        )
    if code in _NO_DATABASE:
        return ConfigError(
            f"{where}: {said}", hint="mend the database's name in the address of this source", context=context
        )
    return ConnectionLost(
        f"{doing} at {where} failed: {said or 'no reason given'} ({code})",
        hint="the agent tries again; if it stays, look at the server's log",
        context=context,
    )


def is_of_statement(error: FustorError) -> bool:
    """
    Tell whether an error is the server's answer to one statement: the connection goes on, and the same again would have the same answer.
    """
    code = error.context.get("code")
    return isinstance(code, int) and code >= 1000 and code // 1000 != 2 and code not in _ENDING
