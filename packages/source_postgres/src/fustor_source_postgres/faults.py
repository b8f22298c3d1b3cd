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
from fustor_core.outcome import PASSWORD, REMEDY

INSUFFICIENT_PRIVILEGE: Final = "42501"
NO_SUCH_OBJECT: Final = "42704"
NO_SUCH_DATABASE: Final = "3D000"
OBJECT_IN_USE: Final = "55006"
NOT_IN_THAT_STATE: Final = "55000"
LIMIT_REACHED: Final = "53400"
_STOPPING: Final = frozenset({"57P01", "57P03"})
_IS_STOPPING: Final = re.compile(r"database system is shutting down", re.I)
_AUTHENTICATION: Final = re.compile(
    r"authentication|pg_hba\.conf|no password supplied|role \"[^\"]*\" does not exist", re.I
)
_NO_REPLICATION: Final = re.compile(r"must be superuser or replication role|start WAL sender", re.I)
_NO_DATABASE: Final = re.compile(r"database \"[^\"]*\" does not exist", re.I)
_NO_TLS: Final = re.compile(r"server does not support SSL|certificate|SSL error", re.I)
# libpq puts the address before what it says; `where` names it. Of several addresses that were tried each stays with its own.
_REACHING: Final = re.compile(r"^connection to server at [^,]+, port \d+ failed: (?!.*connection to server at )")
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


def is_stopping(error: FustorError) -> bool:
    """
    Tell whether an error says that the server is being shut down. A refused connection says so in the server's language: what ended the
    one before it is surer.
    """
    return (isinstance(error, ServerSaid) and error.sqlstate in _STOPPING) or bool(_IS_STOPPING.search(str(error)))


def replication_right(user: str) -> str:
    """
    Return the SQL that lets a user open a replication connection.
    """
    return f"ALTER ROLE {_named(user)} REPLICATION;"


def _named(user: str) -> str:
    return '"' + user.replace('"', '""') + '"'


LOGICAL_SQL: Final = "ALTER SYSTEM SET wal_level = logical;"


def logical_hint() -> str:
    """
    Return what makes a server write its log so that changes can be read from it.
    """
    return f"let an administrator run: {LOGICAL_SQL} and restart the server"


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
    said = _REACHING.sub("", " ".join(said.split()), count=1)
    context: dict[str, object] = {"server": where, "sqlstate": sqlstate}
    if sqlstate.startswith("28") or (not sqlstate and _AUTHENTICATION.search(said)):
        return AuthenticationFailed(
            f"{where} does not let {user!r} in: {said}",
            hint="mend user and password of this source; pg_hba.conf may also allow the user from other hosts only",
            # Which tables it is to read can be told once it is let in: the check of rights says the GRANT for their schemas alone.
            context={
                **context,
                REMEDY: [f"CREATE ROLE {_named(user)} LOGIN REPLICATION PASSWORD '{PASSWORD}';"],
            },
        )
    if sqlstate == INSUFFICIENT_PRIVILEGE or (not sqlstate and _NO_REPLICATION.search(said)):
        message = f"{doing} at {where}: {user!r} may not: {said}"
        if re.search("replication|WAL sender", said):
            sql = replication_right(user)
            return PermissionMissing(
                message, hint=f"let an administrator run: {sql}", context={**context, REMEDY: [sql]}
            )
        return PermissionMissing(
            message,
            hint="let an administrator give it that right; the check of rights, in the console or by `fustor up`, says the SQL for the wanted tables",
            context=context,
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
        return ConfigError(
            f"{doing} at {where}: {said}", hint=logical_hint(), context={**context, REMEDY: [LOGICAL_SQL]}
        )
    return ServerSaid(
        f"{doing} at {where} failed: {said or 'no reason given'}" + (f" ({sqlstate})" if sqlstate else ""),
        sqlstate=sqlstate,
        hint="the agent tries again; if it stays, look at the server's log",
        context=context,
    )
