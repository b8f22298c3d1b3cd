"""
What the wizard and `fustor up` ask before any instance exists: can the server be reached, may the user read, is it set up.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any

from fustor_core.errors import ConfigError, FustorError
from fustor_core.outcome import REMEDY, Outcome
from fustor_core.params import database_steps
from fustor_core.selection import Selection
from fustor_source_mysql.config import MysqlParams, parse_address, parse_credential, parse_params, wanted_of
from fustor_source_mysql.connection import Server
from fustor_source_mysql.control import Control, version_of
from fustor_source_mysql.keyless import key_sql, why_not
from fustor_source_mysql.rights import account, grants, lacking
from fustor_source_mysql.schema import Table, named, quoted, read_tables

OLDEST_MARIADB = (10, 5)
OLDEST_MYSQL = (5, 7)
AGENT_USER = "fustor"
SMALL_BYTES = 1 << 20
MOST_COUNTED = 100
_GTID_MODES = ("OFF", "OFF_PERMISSIVE", "ON_PERMISSIVE", "ON")

Check = Callable[[Control, Selection], str]

log = logging.getLogger(__name__)


async def ask(uri: str, credential: Any, driver_params: dict[str, Any] | None, check: Check) -> Outcome:
    """
    Run a check in a thread; its errors are the answer.
    """

    def run() -> Outcome:
        try:
            params = parse_params(driver_params)
            address = parse_address(uri)
            control = Control(Server(address, parse_credential(credential), params))
        except FustorError as exc:
            return Outcome.of(exc)
        try:
            return Outcome(True, check(control, wanted_of(address, params)))
        except FustorError as exc:
            return Outcome.of(exc)
        finally:
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
            sql = grants(control.server.user, wanted.schemas, literal=control.grants_are_literal)
            raise ConfigError(
                f"{control.server.address} has no database {database!r}, or {control.server.user!r} may not see it",
                hint=f"mend the name, or let an administrator run: {' '.join(sql)}",
                context={REMEDY: sql},
            )
    return f"{control.server.address} answers: {version}"


def check_rights(control: Control, wanted: Selection) -> str:
    """
    Try what the driver will do.

    Raises:
        FustorError: The user may not; with the GRANT.
    """
    literal = control.grants_are_literal
    lacks = lacking((str(row[0]) for row in control.query("SHOW GRANTS")), wanted.schemas, literal=literal)
    if lacks:
        user = control.server.user
        sql = grants(user, wanted.schemas, literal=literal)
        raise ConfigError(
            f"{user!r} lacks {', '.join(lacks)}",
            hint=f"let an administrator run: {' '.join(sql)}",
            context={"lacks": lacks, REMEDY: sql},
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
    # MySQL keeps what is set so over a restart.
    word = "SET PERSIST" if not control.is_mariadb and version_of(control.version) >= (8,) else "SET GLOBAL"
    for name, allowed in (
        ("binlog_format", ("ROW",)),
        ("binlog_row_image", ("FULL", "NOBLOB", "MINIMAL")),
        ("binlog_row_metadata", ("FULL",)),
        ("binlog_row_value_options", ("",)),
    ):
        value = control.variable(name)
        if value is not None and value.upper() not in allowed:
            wrong.append(f"{name} is {value}")
            sql.append(f"{word} {name} = {allowed[0] or quoted('')};")
    if not control.is_mariadb:
        mode = (control.variable("gtid_mode") or "OFF").upper()
        if mode != "ON":
            wrong.append(f"gtid_mode is {mode}")
            # One step at a time is all that the server allows.
            steps = _GTID_MODES[_GTID_MODES.index(mode) + 1 :] if mode in _GTID_MODES else _GTID_MODES[1:]
            sql.append(f"{word} enforce_gtid_consistency = ON;")
            sql += [f"{word} gtid_mode = {step};" for step in steps]
    if wrong:
        raise ConfigError(
            "; ".join(wrong),
            hint="let an administrator run: "
            + " ".join(sql)
            + (" and put the same into [mysqld] of the server's configuration" if word == "SET GLOBAL" else "")
            + " (sessions that are open keep what they had)",
            context={REMEDY: sql},
        )
    kept = control.variable("binlog_expire_logs_seconds") or control.variable("expire_logs_days")
    note = (
        ""
        if kept in (None, "0", "0.000000")
        else f"; logs are kept for {kept} (seconds or days): a longer absence needs a new snapshot"
    )
    tables = read_tables(control.query, wanted)
    return f"the binary log holds rows with their names; {len(tables)} tables are wanted{note}"


async def make_user(uri: str, admin: Any, credential: Any, driver_params: dict[str, Any] | None) -> Outcome:
    """
    Make the user that the agent is to use; the administrator's credential is used once and kept nowhere.
    """

    def run(control: Control, wanted: Selection) -> str:
        own = parse_credential(credential) if credential is not None else None
        name = own.user if own is not None else AGENT_USER
        password = (
            own.passwd.get_secret_value() if own is not None and own.passwd is not None else secrets.token_urlsafe(18)
        )
        control.query(f"CREATE USER IF NOT EXISTS {account(name)} IDENTIFIED BY {quoted(password)}", "making the user")
        for sql in grants(name, wanted.schemas, literal=control.grants_are_literal):
            control.query(sql, "granting rights")
        is_given = own is not None and own.passwd is not None
        told = repr(name) if is_given else f"{name!r} with the password {password}"
        if wanted.schemas:
            return f"made the user {told}; it may read {', '.join(sorted(wanted.schemas))} and the binary log"
        return f"made the user {told}; it may read every table and the binary log"

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


async def available_tables(uri: str, credential: Any, driver_params: dict[str, Any] | None) -> list[dict[str, Any]]:
    """
    Return every wanted table with about how many rows it has; small ones are counted.

    Raises:
        FustorError: The server can't be asked.
    """

    def run() -> list[dict[str, Any]]:
        params = parse_params(driver_params)
        address = parse_address(uri)
        control = Control(Server(address, parse_credential(credential), params))
        try:
            tables = read_tables(control.query, wanted_of(address, params))
            known = _known_rows(control, sorted({table.schema for table in tables}))
            small = [table for table in tables if known.get(table.place, (None, 0))[1] <= SMALL_BYTES]
            counted = _counted(control, small[:MOST_COUNTED])
            return [
                _described(table, known.get(table.place, (None, 0))[0], counted.get(table.place)) for table in tables
            ]
        finally:
            control.close()

    return await asyncio.to_thread(run)


def _known_rows(control: Control, schemas: list[str]) -> dict[tuple[str, str], tuple[int | None, int]]:
    if not control.is_mariadb and version_of(control.version) >= (8,):
        # Else the server tells what it knew a day ago.
        control.query("SET SESSION information_schema_stats_expiry = 0")
    return {
        (str(schema), str(name)): (None if rows is None else int(rows), int(octets or 0))
        for one in schemas
        for schema, name, rows, octets in control.query(
            "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_ROWS, DATA_LENGTH FROM information_schema.TABLES"
            f" WHERE TABLE_SCHEMA = {quoted(one)}"
        )
    }


def _counted(control: Control, tables: list[Table]) -> dict[tuple[str, str], int]:
    counted: dict[tuple[str, str], int] = {}
    try:
        control.query("SET SESSION lock_wait_timeout = 1")
        for table in tables:
            found = control.query(f"SELECT COUNT(*) FROM {named(table.schema)}.{named(table.name)}", "counting rows")
            counted[table.place] = int(found[0][0])
    except FustorError as exc:
        log.info("rows are told as the server estimates them: %s", exc.message)
    return counted


def _described(table: Table, estimate: int | None, counted: int | None) -> dict[str, Any]:
    full_name = f"{table.schema}.{table.name}"
    told: dict[str, Any] = {
        "schema": table.schema,
        "table": table.name,
        "rows": estimate if counted is None else counted,
        "is_exact": counted is not None,
        "columns": sum(not column.kind.startswith("unsupported") for column in table.columns),
        "key": list(table.key),
    }
    why = why_not(table, full_name) if not table.key else None
    if why is not None:
        told |= {"problem": why[0], "hint": why[1]}
    elif not table.key:
        told |= {"hint": key_sql(full_name)}
    return told


def wizard_steps() -> dict[str, Any]:
    """
    Return the steps of the wizard.
    """
    return database_steps(
        "mysql://127.0.0.1:3306/",
        MysqlParams,
        about="Every table of a server or of one database, and each change as it is committed, from the binary log.",
        needs_database=False,
    )
