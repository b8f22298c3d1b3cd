"""
What the wizard and `fustor up` ask before any instance exists: can the server be reached, may the user read, is it set up.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any, Final

from fustor_core.errors import ConfigError, FustorError, PermissionMissing
from fustor_core.outcome import REMEDY, Outcome
from fustor_core.params import database_steps
from fustor_core.selection import Selection
from fustor_source_postgres import publication
from fustor_source_postgres.config import (
    PostgresParams,
    parse_address,
    parse_credential,
    parse_params,
    wanted_of,
)
from fustor_source_postgres.connection import Server
from fustor_source_postgres.control import Control
from fustor_source_postgres.faults import LOGICAL_SQL, logical_hint, replication_right
from fustor_source_postgres.keyless import key_sql
from fustor_source_postgres.schema import Table, Types, estimated_rows, named, quoted, read_tables

OLDEST: Final = 130_000
AGENT_USER: Final = "fustor"
SMALL_BYTES: Final = 1 << 20
MOST_COUNTED: Final = 100
MOST_COLUMNS: Final = 1000  # the server takes 1664 in one SELECT
_SIZES: Final = """
SELECT c.oid,
  CASE WHEN c.relkind = 'r' THEN pg_relation_size(c.oid)
    ELSE (SELECT sum(pg_relation_size(t.relid)) FROM pg_partition_tree(c.oid) t WHERE t.isleaf) END,
  has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(c.relnamespace, 'USAGE')
FROM pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition
"""

log = logging.getLogger(__name__)


class Question:
    """
    What a check works with: the server, and what of it is wanted.
    """

    def __init__(self, control: Control, params: PostgresParams) -> None:
        self.control = control
        self.params = params
        self.wanted: Selection = wanted_of(params)

    def tables(self) -> list[Table]:
        """
        Return the wanted tables.
        """
        return read_tables(self.control.query, self.wanted, Types(self.control.query))


Check = Callable[[Question], str]


def _run(uri: str, credential: Any, driver_params: dict[str, Any] | None, check: Callable[[Question], Any]) -> Any:
    params = parse_params(driver_params)
    control = Control(Server(parse_address(uri), parse_credential(credential), params))
    try:
        return check(Question(control, params))
    finally:
        control.close()


async def ask(uri: str, credential: Any, driver_params: dict[str, Any] | None, check: Check) -> Outcome:
    """
    Run a check in a thread; its errors are the answer.
    """
    try:
        return Outcome(True, await asyncio.to_thread(_run, uri, credential, driver_params, check))
    except FustorError as exc:
        return Outcome.of(exc)


def check_connection(question: Question) -> str:
    """
    Sign in and look at the version.

    Raises:
        FustorError: The server can't be reached, or is too old.
    """
    control = question.control
    version = control.one("SHOW server_version")
    if control.version < OLDEST:
        raise ConfigError(
            f"{control.server.address} runs PostgreSQL {version}, which is too old",
            hint=f"PostgreSQL {OLDEST // 10_000} or later is needed",
        )
    if control.one("SELECT pg_is_in_recovery()") == "t":
        raise ConfigError(
            f"{control.server.address} is a standby: it can't make what the driver needs",
            hint="give the address of the primary",
        )
    return f"{control.server.address} answers: PostgreSQL {version}"


def check_rights(question: Question) -> str:
    """
    Try what the driver will do.

    Raises:
        PermissionMissing: With the SQL to run, all of it at once.
    """
    control = question.control
    user = control.server.user
    lacks: list[str] = []
    sql: list[str] = []
    try:
        control.server.connect(replication=True).close()
    except PermissionMissing:
        lacks.append("the attribute REPLICATION")
        sql.append(replication_right(user))
    tables = [table for table in question.tables() if table.why_not is None]
    unreadable = _without(control, tables, "has_table_privilege({oid}, 'SELECT')")
    for schema in sorted({table.schema for table in unreadable}):
        lacks.append(f"SELECT on tables of schema {schema!r}")
        sql.append(f"GRANT USAGE ON SCHEMA {named(schema)} TO {named(user)};")
        sql.append(f"GRANT SELECT ON ALL TABLES IN SCHEMA {named(schema)} TO {named(user)};")
    found = publication.choose(control, question.params.publication, "")
    if found is None and not _may_publish(control, tables):
        lacks.append("the right to make a publication of these tables")
        sql.append(publication.create_sql(tables))
    missing = [] if found is None else found.missing(tables)
    if found is not None and missing:
        lacks.append(f"{len(missing)} wanted tables in the publication {found.name!r}")
        sql.append(publication.add_sql(found.name, missing))
    if lacks:
        raise PermissionMissing(
            f"{user!r} lacks {', '.join(lacks)}",
            hint=f"let the owner of the tables, or an administrator, run: {' '.join(sql)}",
            context={"lacks": lacks, REMEDY: sql},
        )
    return f"{user!r} may read tables and changes"


def _without(control: Control, tables: list[Table], condition: str) -> list[Table]:
    lacking: list[Table] = []
    for begin in range(0, len(tables), MOST_COLUMNS):
        part = tables[begin : begin + MOST_COLUMNS]
        (row,) = control.query(f"SELECT {', '.join(condition.format(oid=table.oid) for table in part)}")
        lacking += [table for table, has in zip(part, row, strict=True) if has != "t"]
    return lacking


def _may_publish(control: Control, tables: list[Table]) -> bool:
    if control.one("SELECT has_database_privilege(current_database(), 'CREATE')") != "t":
        return False
    owned = "pg_has_role((SELECT relowner FROM pg_class WHERE oid = {oid}), 'USAGE')"
    return not _without(control, tables, owned)


def check_settings(question: Question) -> str:
    """
    Look at how the server writes its log.

    Raises:
        ConfigError: With the SQL, or the lines of the server's configuration.
    """
    control = question.control
    if control.one("SHOW wal_level") != "logical":
        raise ConfigError(
            f"wal_level is {control.one('SHOW wal_level')}: changes can't be read",
            hint=logical_hint(),
            context={REMEDY: [LOGICAL_SQL]},
        )
    used = int(control.one("SELECT count(*) FROM pg_replication_slots"))
    slots = int(control.one("SHOW max_replication_slots"))
    senders = int(control.one("SHOW max_wal_senders"))
    if used >= slots or senders == 0:
        sql = [
            f"ALTER SYSTEM SET max_replication_slots = {slots + 10};",
            f"ALTER SYSTEM SET max_wal_senders = {max(senders, slots) + 10};",
        ]
        raise ConfigError(
            f"no replication slot is left: {used} of {slots} are there, and max_wal_senders is {senders}",
            hint=f"drop slots nobody reads, or let an administrator run: {' '.join(sql)} and restart the server",
            context={REMEDY: sql},
        )
    tables = question.tables()
    out = [table for table in tables if table.why_not is not None]
    told = f"the log holds changes; {len(tables) - len(out)} tables are wanted"
    if out:
        what, mend = out[0].why_not or ("", "")
        told += f"; {len(out)} more can't be read: {out[0].full_name}: {what}; mend it with: {mend}"
    if control.one("SHOW max_slot_wal_keep_size") == "-1":
        told += "; max_slot_wal_keep_size is unlimited: while the agent is away the server keeps all of its log"
    return told


async def make_user(uri: str, admin: Any, credential: Any, driver_params: dict[str, Any] | None) -> Outcome:
    """
    Make the user that the agent is to use, and the publication; the administrator's credential is used once and kept nowhere.
    """

    def run(question: Question) -> str:
        control = question.control
        own = parse_credential(credential) if credential is not None else None
        name = own.user if own is not None else AGENT_USER
        password = (
            own.passwd.get_secret_value() if own is not None and own.passwd is not None else secrets.token_urlsafe(18)
        )
        known = control.query(f"SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = {quoted(name)}")
        if not known:
            control.query(f"CREATE ROLE {named(name)} LOGIN REPLICATION PASSWORD {quoted(password)}", "making the user")
        elif known[0][0] != "t":
            control.query(replication_right(name), "granting rights")
        tables = question.tables()
        for schema in sorted({table.schema for table in tables}):
            control.query(
                f"GRANT USAGE ON SCHEMA {named(schema)} TO {named(name)};"
                f" GRANT SELECT ON ALL TABLES IN SCHEMA {named(schema)} TO {named(name)};"
                f" ALTER DEFAULT PRIVILEGES IN SCHEMA {named(schema)} GRANT SELECT ON TABLES TO {named(name)}",
                "granting rights",
            )
        if publication.choose(control, question.params.publication, "") is None:
            control.query(publication.create_sql(tables), "making the publication")
        is_given = own is not None and own.passwd is not None
        told = repr(name) if is_given else f"{name!r} with the password {password}"
        return f"made the user {told}; it may read {len(tables)} tables and their changes"

    return await ask(uri, admin, driver_params, run)


async def available_fields(uri: str, credential: Any, driver_params: dict[str, Any] | None) -> dict[str, Any]:
    """
    Return the columns of every wanted table as `schema.table.column`.

    Raises:
        FustorError: The server can't be asked.
    """

    def fields(question: Question) -> dict[str, Any]:
        properties = {
            f"{table.full_name}.{column.name}": {**column.type.json_type, "x-key": column.name in table.key}
            for table in question.tables()
            for column in table.columns
            if not column.is_generated
        }
        return {"type": "object", "properties": properties}

    found: dict[str, Any] = await asyncio.to_thread(_run, uri, credential, driver_params, fields)
    return found


async def available_tables(uri: str, credential: Any, driver_params: dict[str, Any] | None) -> list[dict[str, Any]]:
    """
    Return every wanted table with about how many rows it has; small ones are counted.

    Raises:
        FustorError: The server can't be asked.
    """

    def tables(question: Question) -> list[dict[str, Any]]:
        control, found = question.control, question.tables()
        estimates = estimated_rows(control.query, question.wanted)
        sizes = {int(oid or 0): int(float(octets or 0)) for oid, octets, may in control.query(_SIZES) if may == "t"}
        small = [table for table in found if sizes.get(table.oid, SMALL_BYTES + 1) <= SMALL_BYTES]
        counted = _counted(control, small[:MOST_COUNTED])
        return [_described(table, estimates.get(table.place), counted.get(table.oid)) for table in found]

    asked: list[dict[str, Any]] = await asyncio.to_thread(_run, uri, credential, driver_params, tables)
    return asked


def _counted(control: Control, tables: list[Table]) -> dict[int, int]:
    counted: dict[int, int] = {}
    try:
        control.query("SET lock_timeout = '1s'; SET statement_timeout = '5s'")
        for table in tables:
            name = named(table.schema, table.name)
            counted[table.oid] = int(control.one(f"SELECT count(*) FROM {name}", "counting rows"))
    except FustorError as exc:
        log.info("rows are told as the server estimates them: %s", exc.message)
    return counted


def _described(table: Table, estimate: int | None, counted: int | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "schema": table.schema,
        "table": table.name,
        "rows": estimate if counted is None else counted,
        "is_exact": counted is not None,
        "columns": sum(not column.is_generated for column in table.columns),
        "key": list(table.key),
    }
    if table.why_not is not None:
        told |= {"problem": table.why_not[0], "hint": table.why_not[1]}
    elif not table.key:
        told |= {"hint": key_sql(table)}
    return told


def wizard_steps() -> dict[str, Any]:
    """
    Return the steps of the wizard.
    """
    return database_steps(
        "postgresql://127.0.0.1:5432/postgres",
        PostgresParams,
        about="Every table of a database, and each change as it is committed, by logical replication.",
        needs_database=True,
    )
