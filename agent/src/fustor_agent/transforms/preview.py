"""
What transforms would do to real rows, shown before anything is saved.

A driver of its own, with a state folder of its own that is thrown away, reads the first rows of some tables; a running sync of the same
source is not touched, and nothing is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from fustor_agent.secret_values import secrets_of, without
from fustor_agent.sync.keys import row_dicts, with_rows
from fustor_agent.sync.reader import close_iterator
from fustor_agent.transforms.alignment import aligned
from fustor_agent.transforms.check import mistakes_of
from fustor_agent.transforms.transformer import Transformer
from fustor_agent.writable import writable
from fustor_core.drivers import SourceDriver
from fustor_core.errors import BatchRejected, ConfigError, ConnectionLost, DriverError, FustorError
from fustor_core.models.config import SourceConfig, SyncConfig
from fustor_core.models.event import EventBase, EventType
from fustor_core.values import encode_value

MOST_TABLES: Final = 20
_LOOK_S: Final = 3.0
READS_MORE_THAN_THE_KEY: Final = "This filter uses fields other than the key. If an update does not carry them, the row is read again from the source."

TableName = tuple[str, str]


class Sample(NamedTuple):
    """
    The first rows of some tables.

    Attributes:
        events: One for each table.
        whole_updates: What their driver says of each, see `SourceDriver.whole_updates`; nothing of those that it can't say it of.
    """

    events: list[EventBase]
    whole_updates: dict[TableName, str]


def check(sync: SyncConfig) -> None:
    """
    Check what can be checked without a row.

    Raises:
        ConfigError: Something is wrong; says where.
    """
    for mistake in mistakes_of(sync):
        place = ".".join(mistake.place)
        raise ConfigError(f"`{place}`: {mistake.message}", hint=mistake.hint, context={"place": place})


async def sample(
    driver_class: type[SourceDriver],
    source_id: str,
    config: SourceConfig,
    *,
    tables: Sequence[str] | None,
    rows: int,
    timeout_s: float = 20.0,
) -> Sample:
    """
    Read the first rows of some tables.

    Args:
        driver_class: The driver of the source.
        source_id: Its id.
        config: Its configuration, references resolved.
        tables: Which tables, `schema.table`; None = those that come first.
        rows: Most rows of a table.
        timeout_s: How long that may take.

    Raises:
        ConnectionLost: It took too long.
        FustorError: The source can't be read.
    """
    try:
        return await _sample(driver_class, source_id, config, tables, rows, timeout_s)
    except FustorError:
        raise
    except Exception as exc:  # noqa: BLE001 - a driver may raise anything; it becomes an error of ours
        # Neither chained nor logged with its traceback: both may show the credential.
        raise DriverError(
            f"source {source_id!r} could not be read: {without(f'{type(exc).__name__}: {exc}', secrets_of(config))}",
            hint="check its address and its credential; if they are right, tell the author of the driver",
        ) from None


async def _sample(
    driver_class: type[SourceDriver],
    source_id: str,
    config: SourceConfig,
    tables: Sequence[str] | None,
    rows: int,
    timeout_s: float,
) -> Sample:
    stop = threading.Event()
    with tempfile.TemporaryDirectory(prefix="fustor-preview-") as folder:
        params = {**config.driver_params, "state_dir": folder}
        driver = driver_class(source_id, config.model_copy(update={"driver_params": params}))
        try:
            reading = asyncio.to_thread(_read, driver, stop, tables, rows)
            return await asyncio.wait_for(asyncio.shield(task := asyncio.ensure_future(reading)), timeout_s)
        except TimeoutError:
            stop.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(task, 3.0)
            raise ConnectionLost(
                f"source {source_id!r} gave no rows within {timeout_s:g} s",
                hint="name the tables to look at, or try again",
            ) from None
        finally:
            stop.set()
            await driver.close()


def _read(driver: SourceDriver, stop: threading.Event, tables: Sequence[str] | None, rows: int) -> Sample:
    if tables is None:
        found = _first_rows(driver, stop, None, rows, time.monotonic() + _LOOK_S)
    else:
        found = [event for one in tables[:MOST_TABLES] for event in _first_rows(driver, stop, [one], rows, None)]
    said = {
        (event.event_schema, event.table): driver.whole_updates(event.event_schema, event.table)
        for event in found
        if not stop.is_set()
    }
    return Sample(found, {table: sentence for table, sentence in said.items() if sentence is not None})


def _first_rows(
    driver: SourceDriver, stop: threading.Event, tables: list[str] | None, rows: int, deadline: float | None
) -> list[EventBase]:
    """
    Return one event for each table that the first chunks are of; with a deadline as many tables as come until then.
    """
    reading = threading.Event()
    iterator = driver.get_snapshot_iterator(stop_event=reading, tables=tables, batch_size=rows, with_keyless=True)
    found: dict[tuple[str, str], EventBase] = {}
    try:
        for event in iterator:
            if event.rows:
                table = (event.event_schema, event.table)
                found.setdefault(table, with_rows(event, event.rows[:rows]))
            enough = len(found) >= (1 if tables else MOST_TABLES)
            if stop.is_set() or enough or (deadline is not None and found and time.monotonic() > deadline):
                break
    finally:
        reading.set()
        close_iterator(iterator)
    return list(found.values())


def show(sync: SyncConfig, events: Sequence[EventBase], whole_updates: Mapping[TableName, str]) -> list[dict[str, Any]]:
    """
    Return for each table what its rows become: `schema, table, key, becomes, rows, notes, error`.

    Args:
        sync: What is done to them.
        events: The rows.
        whole_updates: See `Sample`.

    Raises:
        ConfigError: A salt can't be read.
    """
    transformer = Transformer(sync, sweeps=True)
    return [_table(transformer, event, whole_updates.get((event.event_schema, event.table))) for event in events]


def _table(transformer: Transformer, event: EventBase, whole_updates: str | None) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "schema": event.event_schema,
        "table": event.table,
        "key": list(event.key or ()),
        "fields": list(event.fields),
        "becomes": None,
        "rows": [],
        "notes": [],
        "error": None,
    }
    try:
        fields, _ = next(aligned(event))
        plan = transformer.plan(event, fields)
        shown["becomes"] = {"key": list(plan.key or ()), "fields": list(plan.fields)}
        shown["notes"] = list(dict.fromkeys(plan.notes))
        if plan.filters_move and whole_updates != "":
            shown["notes"] += [READS_MORE_THAN_THE_KEY, *([whole_updates] if whole_updates else [])]
        shown["rows"] = [_row(transformer, event, at) for at in range(len(event.rows))]
    except FustorError as exc:
        shown["error"] = exc.to_dict()
    return shown


def _row(transformer: Transformer, event: EventBase, at: int) -> dict[str, Any]:
    one = with_rows(event, event.rows[at : at + 1], skipped=at)
    one.event_type = EventType.INSERT
    shown: dict[str, Any] = {"before": _plain(row_dicts(one)[0]), "after": None, "outcome": "filtered", "reason": ""}
    try:
        left = transformer.apply([one], lane="snapshot").events
    except BatchRejected as exc:
        return {**shown, "outcome": "refused", "reason": exc.message}
    if left:
        shown |= {"after": _plain(row_dicts(left[0])[0]), "outcome": "sent"}
    return shown


def plain_rows(event: EventBase) -> dict[str, Any]:
    """
    Return rows as an answer can carry them: `schema, table, key, fields, rows`.
    """
    return {
        "schema": writable(event.event_schema),
        "table": writable(event.table),
        "key": [writable(name) for name in event.key or ()],
        "fields": [writable(name) for name in event.fields],
        "rows": [_plain(row) for row in row_dicts(event)],
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {writable(name): _value(value) for name, value in row.items()}


def _value(value: Any) -> Any:
    encoded = encode_value(value)
    return writable(encoded) if isinstance(encoded, str) else encoded
