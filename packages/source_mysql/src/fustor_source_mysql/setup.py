"""
What the wizard and `fustor up` ask before any instance exists: can the server be reached, may the user read, is it set up.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from fustor_core.errors import ConfigError, FustorError
from fustor_core.params import database_steps
from fustor_core.selection import Selection
from fustor_source_mysql.config import MysqlParams, parse_address, parse_credential, parse_params, wanted_of
from fustor_source_mysql.connection import Server
from fustor_source_mysql.control import Control, version_of
from fustor_source_mysql.faults import RIGHTS, grant
from fustor_source_mysql.schema import quoted, read_tables

OLDEST_MARIADB = (10, 5)
OLDEST_MYSQL = (5, 7)
AGENT_USER = "fustor"

Check = Callable[[Control, Selection], str]


async def ask(uri: str, credential: Any, driver_params: dict[str, Any] | None, check: Check) -> tuple[bool, str]:
    """
    Run a check in a thread; its errors are the answer.
    """

    def run() -> tuple[bool, str]:
        control = None
        try:
            params = parse_params(driver_params)
            address = parse_address(uri)
            control = Control(Server(address, parse_credential(credential), params))
            return True, check(control, wanted_of(address, params))
        except FustorError as exc:
            return False, f"{exc.message}\n  {exc.hint}" if exc.hint else exc.message
        finally:
            if control is not None:
                control.close()

    return await asyncio.to_thread(run)


def check_connection(control: Control, wanted: Selection) -> str:
    """
    Sign in, and look at the version and the database.

    Raises:
        FustorError: It can't be reached, or is too old.
    """
    version = control.version
    oldest = OLDEST_MARIADB if control.is_mariadb else OLDEST_MYSQL
    if version_of(version)[:2] < oldest:
        raise ConfigError(
            f"the server is {version}",
            hint=f"at least {'MariaDB' if control.is_mariadb else 'MySQL'} {'.'.join(map(str, oldest))} is needed",
        )
    database = control.server.address.database
    if database is not None:
        there = control.query(f"SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {quoted(database)}")
        if not there:
            raise ConfigError(
                f"{control.server.address} has no database {database!r}, or {control.server.user!r} may not see it",
                hint=f"mend the name, or let an administrator run: {grant(control.server.user)}",
            )
    return f"{control.server.address} answers: {version}"


def check_rights(control: Control, wanted: Selection) -> str:
    """
    Try what the driver will do.

    Raises:
        FustorError: The user may not; with the GRANT.
    """
    given = " ".join(str(row[0]) for row in control.query("SHOW GRANTS")).upper()
    lacks = []
    everything = "ALL PRIVILEGES ON *.*" in given
    if not everything:
        # MariaDB has split and renamed some of these since 10.5.
        if "REPLICATION SLAVE" not in given and "REPLICATION REPLICA" not in given:
            lacks.append("REPLICATION SLAVE")
        if not any(one in given for one in ("REPLICATION CLIENT", "BINLOG MONITOR", "SUPER")):
            lacks.append("REPLICATION CLIENT")
        if "SELECT" not in given and "ALL PRIVILEGES" not in given:
            lacks.append("SELECT")
    if lacks:
        user = control.server.user
        raise ConfigError(
            f"{user!r} lacks {', '.join(lacks)}",
            hint=f"let an administrator run: {grant(user)}",
            context={"lacks": lacks},
        )
    control.newest()
    return f"{control.server.user!r} may read tables and the binary log"


def check_settings(control: Control, wanted: Selection) -> str:
    """
    Look at how the server logs.

    Raises:
        ConfigError: With the SQL, or the lines of the server's configuration.
    """
    control.newest()
    wrong: list[str] = []
    sql: list[str] = []
    for name, allowed in (
        ("binlog_format", ("ROW",)),
        ("binlog_row_image", ("FULL", "NOBLOB", "MINIMAL")),
        ("binlog_row_metadata", ("FULL",)),
        ("binlog_transaction_compression", ("OFF", "0")),
        ("binlog_row_value_options", ("",)),
    ):
        value = control.variable(name)
        if value is not None and value.upper() not in allowed:
            wrong.append(f"{name} is {value}")
            sql.append(f"SET GLOBAL {name} = {allowed[0] or quoted('')};")
    if not control.is_mariadb and (control.variable("gtid_mode") or "").upper() != "ON":
        wrong.append("gtid_mode is not ON")
        sql.append("-- in [mysqld]: gtid_mode = ON and enforce_gtid_consistency = ON, then a restart")
    if wrong:
        raise ConfigError(
            "; ".join(wrong),
            hint="let an administrator run: "
            + " ".join(sql)
            + " and put the same into [mysqld] of the server's configuration",
        )
    kept = control.variable("binlog_expire_logs_seconds") or control.variable("expire_logs_days")
    note = (
        ""
        if kept in (None, "0", "0.000000")
        else f"; logs are kept for {kept} (seconds or days): a longer absence needs a new snapshot"
    )
    tables = read_tables(control.query, wanted)
    return f"the binary log holds rows with their names; {len(tables)} tables are wanted{note}"


async def make_user(uri: str, admin: Any, credential: Any, driver_params: dict[str, Any] | None) -> tuple[bool, str]:
    """
    Make the user that the agent is to use; the administrator's credential is used once and kept nowhere.
    """

    def run(control: Control, wanted: Selection) -> str:
        own = parse_credential(credential) if credential is not None else None
        name = own.user if own is not None else AGENT_USER
        password = (
            own.passwd.get_secret_value() if own is not None and own.passwd is not None else secrets.token_urlsafe(18)
        )
        user = f"{quoted(name)}@'%'"
        control.query(f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY {quoted(password)}", "making the user")
        control.query(f"GRANT {RIGHTS} ON *.* TO {user}", "granting rights")
        told = "" if own is not None and own.passwd is not None else f" with the password {password}"
        return f"made the user {name!r}{told}; it may read every table and the binary log"

    return await ask(uri, admin, driver_params, run)


async def available_fields(uri: str, credential: Any, driver_params: dict[str, Any] | None) -> dict[str, Any]:
    """
    Return the columns of every wanted table as `schema.table.column`.

    Raises:
        FustorError: The server can't be asked.
    """

    def run() -> dict[str, Any]:
        params = parse_params(driver_params)
        address = parse_address(uri)
        control = Control(Server(address, parse_credential(credential), params))
        try:
            properties = {
                f"{table.schema}.{table.name}.{column.name}": {**column.json_type, "x-key": column.name in table.key}
                for table in read_tables(control.query, wanted_of(address, params))
                for column in table.columns
                if not column.kind.startswith("unsupported")
            }
        finally:
            control.close()
        return {"type": "object", "properties": properties}

    return await asyncio.to_thread(run)


def wizard_steps() -> dict[str, Any]:
    """
    Return the steps of the wizard.
    """
    return database_steps("mysql://127.0.0.1:3306/", MysqlParams)
