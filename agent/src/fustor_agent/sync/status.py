"""
What a person sees of a sync: its state, and always why nothing moves when nothing moves (rule 10).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fustor_agent.sync.engine import SyncEngine
from fustor_agent.sync.failures import Fault
from fustor_agent.sync.rates import Rates, rates
from fustor_core.errors import FustorError
from fustor_core.sync_health import Health, health_of

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
    speed = rates(runtime.rates, runtime.sample())
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
        "health": health_of(states, is_troubled=_is_troubled(runtime)),
        "next_try_s": _next_try_s(runtime),
        "tables": _tables(runtime, engine),
        "snapshot": _snapshot(runtime, engine, speed),
        "pushed_rows": counters.pushed_rows,
        "pushed_events": counters.pushed_events,
        "read_rows": counters.read_rows,
        "sent_rows": counters.sent_rows,
        "sent_bytes": counters.sent_bytes,
        "read_rows_per_s": speed.read_rows,
        "rows_per_s": speed.pushed_rows,
        "events_per_s": speed.pushed_events,
        "queue_events": waiting[0] + (engine.queue_events if engine is not None else 0),
        "queue_bytes": waiting[1] + (engine.live.queue_bytes if engine is not None else 0),
        "queue_fill": runtime.subscription.fill() if runtime.subscription is not None else None,
        **_positions(runtime, engine),
        "epoch": memory.epoch if memory is not None else None,
        "lag_s": 0.0 if idle else _lag_s(runtime, engine) if is_read else None,
        "dead_letters": runtime.dead_letters.count(runtime.sync_id),
        "retries": counters.retries,
        "session_id": runtime.session_id,
        "source_status": _source_status(runtime),
    }


def _positions(runtime: SyncRuntime, engine: SyncEngine | None) -> dict[str, Any]:
    told: dict[str, Any] = dict.fromkeys(("checkpoint", "position", "source_index", "lag_index", "lag_bytes"))
    if engine is None:
        return told
    checkpoint = told["checkpoint"] = engine.memory.checkpoint
    if runtime.subscription is None:
        return told
    driver, seen = runtime.subscription.driver, runtime.subscription.reader.passed
    if checkpoint >= 0:
        told["position"] = driver.position_text(checkpoint)
    if seen >= 0:
        told["source_index"] = seen
    if seen >= 0 and checkpoint >= 0:
        told["lag_index"] = max(0, seen - checkpoint)
        told["lag_bytes"] = driver.bytes_between(checkpoint, seen) if seen > checkpoint else 0
    return told


def _lag_s(runtime: SyncRuntime, engine: SyncEngine | None) -> float | None:
    """
    Return how old the oldest change is that has not arrived: it grows while a consumer stands still.
    """
    oldest = engine.live.oldest_ts if engine is not None else None
    return runtime.lag_s if oldest is None else max(runtime.lag_s or 0.0, time.time() - oldest)


def _source_status(runtime: SyncRuntime) -> dict[str, Any]:
    """
    Return what the driver says, with the tables that this consumer can't have (invariant 9).
    """
    if runtime.subscription is None:
        return {}
    status = dict(runtime.subscription.driver.status())
    if held_back := runtime.held_back.problems():
        status["problems"] = [*status.get("problems", []), *held_back]
    keyless: list[dict[str, str]] = status.pop("keyless", [])
    if runtime.pusher.ordering == "arrival" and keyless:
        what = "nothing identifies its rows, and the consumer tells rows apart by their key alone: they are left out"
        status["problems"] = [*status.get("problems", []), *({**one, "what": what} for one in keyless)]
    return status


def _source_error(runtime: SyncRuntime) -> BaseException | None:
    """
    Return what keeps the stream of the source from being read; None when it is read.
    """
    return None if runtime.subscription is None else runtime.subscription.reader.error


def health(runtime: SyncRuntime) -> Health:
    """
    Return the health of a sync alone, as `describe` has it.
    """
    return health_of(_states(runtime, _why(runtime)[2]), is_troubled=_is_troubled(runtime))


def _is_troubled(runtime: SyncRuntime) -> bool:
    """
    Tell whether something went wrong that is being tried again.
    """
    return runtime.running and not runtime.stopping and (_fault(runtime) or _source_error(runtime)) is not None


def _next_try_s(runtime: SyncRuntime) -> float | None:
    if not _is_troubled(runtime):
        return None
    engine = runtime.engine
    wait = runtime.next_try_s if engine is None else engine.failures.hold_s
    return round(wait, 1) if wait > 0 else None


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


def _fault(runtime: SyncRuntime) -> Fault | None:
    engine = runtime.engine
    return engine.failures.fault if engine is not None and engine.failures.fault is not None else runtime.fault


def _why(runtime: SyncRuntime) -> tuple[str, str, bool]:
    """
    Return the reason that nothing moves (or what goes on), the remedy, and whether it is an error.
    """
    engine = runtime.engine
    fault = _fault(runtime)
    if fault is not None:
        return fault.reason, fault.hint, fault.is_error
    if not runtime.running:
        return "stopped", "", False
    if runtime.stopping:
        return "stopping: waiting for pushes under way", "", False
    error = _source_error(runtime)
    if error is not None:
        hint = error.hint if isinstance(error, FustorError) else "this is a fault of the driver: see the log"
        said = error.message if isinstance(error, FustorError) else str(error)
        return f"source: {said}", hint, not isinstance(error, FustorError) or getattr(error, "wait_s", 0) == 0
    for table, wrong in runtime.tables.faults.items():  # a push that goes well says nothing of what can't be read
        others = len(runtime.tables.faults) - 1
        said = f"{wrong['reason']}, and {others} more" if others else wrong["reason"]
        return f"table {table!r} can't be read: {said}", wrong["hint"], True
    if engine is None:
        return "opening a session with the consumer", "", False
    if not engine.stream_open:
        return "waiting for the source to open its stream", "", False
    if engine.needs_session:
        return "opening a session with the consumer", "", False
    if engine.run is not None:
        return _why_snapshot(runtime, engine), "", False
    if engine.queue_events or engine.traffic.in_transit:
        return "sending live changes", "", False
    if engine.memory.gap:
        return "changes are missing; the consumer was told and has not answered", "", False
    return "live; every change was sent, and the consumer asks for nothing", "", False


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
    shown: list[dict[str, Any]] = []
    for name in sorted({*runtime.tables.states, *runtime.tables.faults}):
        fault = runtime.tables.faults.get(name)
        if fault is not None:
            next_try_s = None if engine is None or paused else round(engine.snapshot_lane.read_wait_s, 1)
            why = {"reason": fault["reason"], "hint": fault["hint"], "next_try_s": next_try_s}
            shown.append({"table": name, "state": "errored", **why})
        else:
            state = runtime.tables.states[name]
            how_far = dict(zip(("rows", "rows_expected"), runtime.tables.expected.of_table(name), strict=True))
            how_far = {what: number for what, number in how_far.items() if number is not None}
            shown.append({"table": name, "state": "paused" if paused and state != "live" else state, **how_far})
    return shown


def _snapshot(runtime: SyncRuntime, engine: SyncEngine | None, speed: Rates) -> dict[str, Any] | None:
    run = engine.run if engine is not None else None
    if run is None:
        return None
    rows, expected = run.progress.rows, runtime.tables.expected.rows
    is_moving = expected is not None and speed.snapshot_rows > 0 and not run.progress.paused
    return {
        "id": run.progress.snapshot_id,
        "state": "paused" if run.progress.paused else "ending" if run.end_sent else "copying",
        "rows": rows,
        "chunks": run.chunk_count,
        "started_at": runtime.tables.snapshot_started_at,
        "rate": speed.snapshot_rows,
        # There may be more than the source has said: what was read is the least.
        "rows_expected": None if expected is None else max(expected, rows),
        "eta_s": max(0, expected - rows) / speed.snapshot_rows if expected is not None and is_moving else None,
        "tables": run.progress.tables,
        "where": run.progress.where,
    }
