"""
What a person sees of a sync: its state, and always why nothing moves when nothing moves (rule 10).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fustor_agent.sync.engine import SyncEngine
from fustor_core.errors import FustorError

if TYPE_CHECKING:
    from fustor_agent.sync.runtime import SyncRuntime

_NAMES = ("STOPPED", "STARTING", "MESSAGE_SYNC", "SNAPSHOT_SYNC", "RUNNING_CONF_OUTDATE", "STOPPING", "ERROR")


def describe(runtime: SyncRuntime) -> dict[str, Any]:
    """
    Return the `syncs` item of `GET /api/instances` (docs/reference/api.md).
    """
    engine = runtime.engine
    reason, hint, is_error = _why(runtime)
    states = _states(runtime, is_error)
    counters = runtime.counters
    rows_per_s, events_per_s = _rates(runtime)
    waiting = runtime.subscription.waiting() if runtime.subscription is not None else (0, 0)
    memory = engine.memory if engine is not None else None
    is_read = engine is not None and engine.stream_open and _source_error(runtime) is None
    idle = is_read and engine is not None and not engine.tracker.unsettled and not waiting[0]
    return {
        "id": runtime.sync_id,
        "source": runtime.config.source,
        "pusher": runtime.config.pusher,
        "state": "|".join(states),
        "states": states,
        "since": runtime.since,
        "reason": reason,
        "hint": hint,
        "tables": _tables(runtime, engine),
        "snapshot": _snapshot(runtime, engine),
        "pushed_rows": counters.pushed_rows,
        "pushed_events": counters.pushed_events,
        "rows_per_s": rows_per_s,
        "events_per_s": events_per_s,
        "queue_events": waiting[0] + (engine.queue_events if engine is not None else 0),
        "queue_bytes": waiting[1] + (engine.queue_bytes if engine is not None else 0),
        "checkpoint": memory.checkpoint if memory is not None else None,
        "epoch": memory.epoch if memory is not None else None,
        "lag_s": 0.0 if idle else runtime.lag_s if is_read else None,
        "dead_letters": runtime.dead_letters.count(runtime.sync_id),
        "retries": counters.retries,
        "session_id": runtime.session_id,
        "source_status": runtime.subscription.driver.status() if runtime.subscription is not None else {},
    }


def _source_error(runtime: SyncRuntime) -> BaseException | None:
    """
    Return what keeps the stream of the source from being read; None when it is read.
    """
    return None if runtime.subscription is None else runtime.subscription.reader.error


def _states(runtime: SyncRuntime, is_error: bool) -> list[str]:
    engine = runtime.engine
    if not runtime.running:
        return ["ERROR"] if is_error else ["STOPPED"]
    states = []
    if runtime.stopping:
        states.append("STOPPING")
    elif engine is None or not engine.stream_open or _source_error(runtime) is not None:
        states.append("STARTING")
    else:
        states.append("MESSAGE_SYNC")
        if engine.run is not None and not engine.run.progress.paused:
            states.append("SNAPSHOT_SYNC")
    if runtime.conf_outdated:
        states.append("RUNNING_CONF_OUTDATE")
    if is_error:
        states.append("ERROR")
    return [name for name in _NAMES if name in states]


def _why(runtime: SyncRuntime) -> tuple[str, str, bool]:
    """
    Return the reason that nothing moves (or what goes on), the remedy, and whether it is an error.
    """
    engine = runtime.engine
    fault = engine.fault if engine is not None and engine.fault is not None else runtime.fault
    if fault is not None:
        return fault.reason, fault.hint, fault.is_error
    if not runtime.running:
        return "stopped", "", False
    if runtime.stopping:
        return "stopping: waiting for pushes under way", "", False
    error = _source_error(runtime)
    if error is not None:
        hint = error.hint if isinstance(error, FustorError) else "this is a fault of the driver: see the log"
        return f"source: {error}", hint, not isinstance(error, FustorError) or getattr(error, "wait_s", 0) == 0
    if engine is None:
        return "opening a session with the consumer", "", False
    if not engine.stream_open:
        return "waiting for the source to open its stream", "", False
    if engine.needs_session:
        return "opening a session with the consumer", "", False
    if engine.run is not None:
        return _why_snapshot(runtime, engine), "", False
    if engine.queue_events or engine.in_transit:
        return "sending live changes", "", False
    if engine.memory.gap:
        return "changes are missing; the consumer was told and has not answered", "", False
    return "live; the source is idle and the consumer asks for nothing", "", False


def _why_snapshot(runtime: SyncRuntime, engine: SyncEngine) -> str:
    run = engine.run
    if run is None:
        return ""
    if run.progress.paused:
        return "live; the snapshot is paused by a person"
    if runtime.snapshot_waits:
        return "the snapshot waits for that of another sync of this source"
    held = next((chunk for chunk in run.chunks if chunk.high is not None and engine.tracker.passed < chunk.high), None)
    if held is not None:
        return f"the snapshot waits for the live stream to pass {held.high} (now at {engine.tracker.passed})"
    return "copying"


def _tables(runtime: SyncRuntime, engine: SyncEngine | None) -> list[dict[str, Any]]:
    paused = engine is not None and engine.run is not None and engine.run.progress.paused
    return [
        {"table": name, "state": "paused" if paused and state != "live" else state}
        for name, state in sorted(runtime.tables.items())
    ]


def _snapshot(runtime: SyncRuntime, engine: SyncEngine | None) -> dict[str, Any] | None:
    run = engine.run if engine is not None else None
    if run is None:
        return None
    rows = run.progress.rows
    elapsed = time.time() - (runtime.snapshot_started_at or time.time())
    return {
        "id": run.progress.snapshot_id,
        "state": "paused" if run.progress.paused else "ending" if run.end_sent else "copying",
        "rows": rows,
        "chunks": run.chunk_count,
        "started_at": runtime.snapshot_started_at,
        "rate": rows / elapsed if elapsed > 0 else 0.0,
        "tables": run.progress.tables,
        "where": run.progress.where,
    }


def _rates(runtime: SyncRuntime) -> tuple[float, float]:
    rates = list(runtime.rates)
    if len(rates) < 2:
        return 0.0, 0.0
    now = rates[-1][0]
    first = next((one for one in rates if now - one[0] <= 10.0), rates[0])
    seconds = now - first[0]
    if seconds <= 0:
        return 0.0, 0.0
    counters = runtime.counters
    return (counters.pushed_rows - first[1]) / seconds, (counters.pushed_events - first[2]) / seconds
