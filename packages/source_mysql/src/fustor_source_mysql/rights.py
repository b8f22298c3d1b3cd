"""
What the account of the agent must be allowed: what it must be given, as SQL, and what it was given, as the server tells it.

Reading the log is a right on the whole server; reading rows is given for the wanted databases alone, where they are known by name.
Of `information_schema` and the server's variables anybody sees what concerns the databases that they may read, so nothing is given for those.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

OF_TABLES: Final = "SELECT, LOCK TABLES"
OF_LOG: Final = "REPLICATION SLAVE, REPLICATION CLIENT"
_GRANT: Final = re.compile(r"GRANT (.+?) ON (?:TABLE )?(\*|`(?:[^`]|``)*`|[^.\s]+)\.\S", re.S)
_WILD: Final = re.compile(r"\\.|[%_]|[^\\%_]+|\\$", re.S)


def grants(user: str, databases: Collection[str] = (), *, literal: bool = False) -> list[str]:
    """
    Return the SQL that gives a user what the driver needs.

    Args:
        user: Its name.
        databases: The databases that are wanted; empty = any.
        literal: See `tables_of`.
    """
    if not databases:
        return [f"GRANT {OF_TABLES}, {OF_LOG} ON *.* TO {account(user)};"]
    return [
        log_grant(user),
        *(f"GRANT {OF_TABLES} ON {tables_of(one, literal)} TO {account(user)};" for one in sorted(databases)),
    ]


def log_grant(user: str) -> str:
    """
    Return the SQL that lets a user read the binary log.
    """
    return f"GRANT {OF_LOG} ON *.* TO {account(user)};"


def account(user: str) -> str:
    """
    Return a user of any host, as SQL has it.
    """
    return "'" + user.replace("'", "''") + "'@'%'"


def tables_of(database: str, literal: bool) -> str:
    """
    Return all tables of a database as GRANT has them.

    Args:
        database: Its name.
        literal: Whether the server takes names as they stand (`partial_revokes`); by default `_` and `%` stand for any character there,
            unless they are escaped.
    """
    name = database if literal else re.sub(r"([\\_%])", r"\\\1", database)
    return "`" + name.replace("`", "``") + "`.*"


class Given(NamedTuple):
    """
    One line of SHOW GRANTS.

    Attributes:
        rights: In capitals.
        database: Its name, or a pattern of names as LIKE has it; None = everywhere.
    """

    rights: str
    database: str | None

    def reads(self, database: str, literal: bool) -> bool:
        """
        Tell whether it lets somebody read tables of a database.
        """
        if self.database is None or not self.reads_something:
            return self.reads_something
        return self.database == database if literal else _is_like(self.database, database)

    @property
    def reads_something(self) -> bool:
        """
        Whether it lets somebody read any table.
        """
        return "SELECT" in self.rights or "ALL PRIVILEGES" in self.rights


def given(lines: Iterable[str]) -> list[Given]:
    """
    Read what SHOW GRANTS says. Roles are left out: the server lists what they give by itself.
    """
    found = [match for line in lines if (match := _GRANT.match(line)) is not None]
    return [Given(one[1].upper(), None if one[2] == "*" else _bare(one[2])) for one in found]


def lacking(lines: Iterable[str], databases: Collection[str], *, literal: bool) -> list[str]:
    """
    Return which rights an account lacks.

    Args:
        lines: What SHOW GRANTS says of it.
        databases: Those that are wanted; empty = whatever it may read.
        literal: See `tables_of`.
    """
    known = given(lines)
    everywhere = " ".join(one.rights for one in known if one.database is None)
    lacks: list[str] = []
    if "ALL PRIVILEGES" not in everywhere:
        # MariaDB has split and renamed some of these since 10.5.
        if "REPLICATION SLAVE" not in everywhere and "REPLICATION REPLICA" not in everywhere:
            lacks.append("REPLICATION SLAVE")
        if not any(one in everywhere for one in ("REPLICATION CLIENT", "BINLOG MONITOR", "SUPER")):
            lacks.append("REPLICATION CLIENT")
    if not any(one.reads_something for one in known):
        lacks.append("SELECT")
    else:
        lacks += [
            f"SELECT ON {tables_of(one, literal)}"
            for one in sorted(databases)
            if not any(line.reads(one, literal) for line in known)
        ]
    return lacks


def _bare(name: str) -> str:
    return name[1:-1].replace("``", "`") if name.startswith("`") else name


def _is_like(pattern: str, name: str) -> bool:
    parts = (
        {"%": ".*", "_": "."}.get(part) or re.escape(part[1:] if part[0] == "\\" and len(part) > 1 else part)
        for part in _WILD.findall(pattern)
    )
    return re.fullmatch("".join(parts), name, re.S | re.I) is not None
