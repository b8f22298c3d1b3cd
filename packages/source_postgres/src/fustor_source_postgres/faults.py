"""
What goes wrong between the driver and the server, as the errors that tell the agent what to do about it.

| what the server or the network says | error |
|---|---|
| wrong user or password, no line in pg_hba.conf (class 28) | AuthenticationFailed |
| a right is missing (42501) | PermissionMissing, with the SQL |
| no such database (3D000), `wal_level`, no slot left (53400) | ConfigError |
| everything that may pass: connection gone, server starting or stopping, slot in use, timeouts | ConnectionLost |

A refused connection carries no SQLSTATE in libpq; there the words of the message tell.
"""

from __future__ import annotations

import re
from typing import Final

from fustor_core.errors import AuthenticationFailed, ConfigError, ConnectionLost, FustorError, PermissionMissing

INSUFFICIENT_PRIVILEGE: Final = "42501"
NO_SUCH_OBJECT: Final = "42704"
NO_SUCH_DATABASE: Final = "3D000"
OBJECT_IN_USE: Final = "55006"
NOT_IN_THAT_STATE: Final = "55000"
LIMIT_REACHED: Final = "53400"
_AUTHENTICATION: Final = re.compile(
    r"authentication|pg_hba\.conf|no password supplied|role \"[^\"]*\" does not exist", re.I
)
_NO_REPLICATION: Final = re.compile(r"must be superuser or replication role|start WAL sender", re.I)
_NO_DATABASE: Final = re.compile(r"database \"[^\"]*\" does not exist", re.I)
_NO_TLS: Final = re.compile(r"server does not support SSL|certificate|SSL error", re.I)
_NOT_LOGICAL: Final = re.compile(r"wal_level", re.I)


class ServerSaid(ConnectionLost):
    """
    An error of the server that waiting may cure.

    Attributes:
        sqlstate: The server's code; "" when the connection itself failed.
    """

    code = "driver.server_error"

    def __init__(self, message: str, *, sqlstate: str, hint: str, context: dict[str, object]) -> None:
        super().__init__(message, hint=hint, context=context)
        self.sqlstate = sqlstate


def replication_right(user: str) -> str:
    """
    Return the SQL that lets a user open a replication connection.
    """
    return f'ALTER ROLE "{user}" REPLICATION;'


def logical_hint() -> str:
    """
    Return what makes a server write its log so that changes can be read from it.
    """
    return "let an administrator run: ALTER SYSTEM SET wal_level = logical; and restart the server"


def fault_of(sqlstate: str, said: str, doing: str, where: str, user: str) -> FustorError:
    """
    Return the error for one of the server's or of the connection's.

    Args:
        sqlstate: "" when there is none.
        said: The message.
        doing: What was tried.
        where: The server and database.
        user: Who tried.
    """
    said = " ".join(said.split())
    context: dict[str, object] = {"server": where, "sqlstate": sqlstate}
    if sqlstate.startswith("28") or (not sqlstate and _AUTHENTICATION.search(said)):
        return AuthenticationFailed(
            f"{where} does not let {user!r} in: {said}",
            hint="mend user and password of this source; pg_hba.conf may also allow the user from other hosts only",
            context=context,
        )
    if sqlstate == INSUFFICIENT_PRIVILEGE or (not sqlstate and _NO_REPLICATION.search(said)):
        sql = (
            replication_right(user)
            if re.search("replication|WAL sender", said)
            else f'GRANT pg_read_all_data TO "{user}";'
        )
        return PermissionMissing(
            f"{doing} at {where}: {user!r} may not: {said}", hint=f"let an administrator run: {sql}", context=context
        )
    if sqlstate == NO_SUCH_DATABASE or (not sqlstate and _NO_DATABASE.search(said)):
        return ConfigError(
            f"{where}: {said}", hint="mend the database's name in the address of this source", context=context
        )
    if not sqlstate and _NO_TLS.search(said):
        return ConfigError(
            f"{where}: {said}", hint="see `tls` and `ca_file` of this source's `driver_params`", context=context
        )
    if sqlstate == LIMIT_REACHED:
        return ConfigError(
            f"{doing} at {where}: {said}",
            hint="drop slots nobody reads (pg_replication_slots), or raise max_replication_slots and restart the server",
            context=context,
        )
    if sqlstate == NOT_IN_THAT_STATE and _NOT_LOGICAL.search(said):
        return ConfigError(f"{doing} at {where}: {said}", hint=logical_hint(), context=context)
    return ServerSaid(
        f"{doing} at {where} failed: {said or 'no reason given'}" + (f" ({sqlstate})" if sqlstate else ""),
        sqlstate=sqlstate,
        hint="the agent tries again; if it stays, look at the server's log",
        context=context,
    )
