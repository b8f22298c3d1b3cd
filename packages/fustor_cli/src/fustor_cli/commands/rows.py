"""
`fustor rows`: rows of one table.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from fustor_cli import connection, formats, options, output
from fustor_client.fusion import FusionClient
from fustor_client.models import TableInfo
from fustor_core.errors import ConfigError, NotFoundError

HELP = "Show rows of a table."
PAGE = 1000
WIDEST = 60


def command(
    table: Annotated[str, typer.Argument(help="The table's name, or SCHEMA.TABLE where two have the same.")],
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where", "-w", help="COLUMN:OP:VALUE; op is eq, ne, lt, le, gt, ge, contains, like, in, isnull."
        ),
    ] = None,
    order: Annotated[str | None, typer.Option("--order", help="A column; with a '-' before it: descending.")] = None,
    sync: Annotated[
        str | None, typer.Option("--sync", help="Of this sync, where several bring the same table.")
    ] = None,
    limit: options.Limit = 20,
    url: options.Url = None,
    key: options.Key = None,
    as_json: options.Json = False,
) -> None:
    """
    Show rows of a table, by default in the order in which Fusion keeps them.

    \b
    fustor rows orders
    fustor rows shop.orders --where total:gt:100 --order -total
    fustor rows orders --limit 1000 --json     a JSON array of rows
    """
    with connection.fusion(url, key) as fusion:
        chosen = _chosen(fusion.tables(), table, sync)
        rows, more = _collect(fusion, chosen, {"where": where or [], "order": order}, limit)
    if as_json:
        output.json_array(rows)
        return
    if not rows:
        output.note("No row fits." if where else "The table is empty.")
        return
    columns = list(dict.fromkeys([*(chosen.key or ()), *(name for row in rows for name in row)]))
    output.table(
        tuple(formats.safe(name) for name in columns),
        [tuple(_shown(row.get(name)) for name in columns) for row in rows],
    )
    if more:
        output.note(f"The first {formats.count(len(rows))} are shown; there are more: --limit {limit * 10}")


def _chosen(tables: list[TableInfo], name: str, sync: str | None) -> TableInfo:
    fitting = [
        one
        for one in tables
        if name in (one.table, f"{one.schema}.{one.table}") and (sync is None or one.task_id == sync)
    ]
    if not fitting:
        raise NotFoundError(f"there is no table {name!r}", hint="`fustor tables` lists them")
    if len(fitting) > 1:
        several = ", ".join(f"{one.schema}.{one.table} of sync {one.task_id}" for one in fitting)
        raise ConfigError(f"{name!r} may be one of several tables: {several}", hint="write SCHEMA.TABLE, or add --sync")
    return fitting[0]


def _collect(
    fusion: FusionClient, table: TableInfo, params: dict[str, Any], limit: int
) -> tuple[list[dict[str, Any]], bool]:
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = fusion.rows(
            table.task_id, table.schema, table.table, **params, cursor=cursor, limit=min(limit - len(rows), PAGE)
        )
        rows += page.rows[: limit - len(rows)]
        if page.next is None or len(rows) >= limit:
            return rows, page.next is not None
        cursor = page.next


def _shown(value: Any) -> str:
    if value is None:
        return "NULL"
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return formats.safe(text if len(text) <= WIDEST else text[: WIDEST - 1] + "…")
