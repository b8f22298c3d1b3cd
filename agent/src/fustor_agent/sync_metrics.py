"""
The figures of all syncs for `/metrics`, read from their status when they are asked for: nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_COUNTERS: Final = {
    "read_rows": ("fustor_agent_rows_read", "Rows taken from the source"),
    "sent_rows": ("fustor_agent_rows_sent", "Rows the consumer has acknowledged, as the transforms made them"),
    "sent_bytes": ("fustor_agent_bytes_sent", "Their size, estimated"),
    "pushed_events": ("fustor_agent_events_pushed", "Events the consumer has acknowledged"),
    "pushed_rows": ("fustor_agent_rows_pushed", "Rows the consumer has acknowledged"),
    "retries": ("fustor_agent_push_retries", "Pushes that were sent again"),
    "restarts": ("fustor_agent_sync_restarts", "How often the sync was started again after it had failed"),
}
_GAUGES: Final = {
    "queue_events": ("fustor_agent_queue_events", "Events that wait to be pushed"),
    "queue_bytes": ("fustor_agent_queue_bytes", "Bytes that wait to be pushed"),
    "queue_fill": ("fustor_agent_queue_fill_ratio", "How full the sync's share of the bus is, 0 to 1"),
    "lag_s": ("fustor_agent_lag_seconds", "How far the sync is behind its source"),
    "lag_index": (
        "fustor_agent_lag_index",
        "How far the checkpoint is behind the newest index of the source, in its unit",
    ),
    "source_index": ("fustor_agent_source_index", "The newest index seen of the source"),
    "dead_letters": ("fustor_agent_dead_letter_rows", "Rows parked as dead letters"),
    "checkpoint": ("fustor_agent_checkpoint", "The last safe index acknowledged"),
}
_SNAPSHOT: Final = {
    "rows": ("fustor_agent_snapshot_rows", "Rows of the snapshot under way that are acknowledged"),
    "chunks": ("fustor_agent_snapshot_chunks", "Chunks of the snapshot under way that were read"),
    "rate": ("fustor_agent_snapshot_rows_per_second", "How fast the snapshot under way goes"),
    "started_at": ("fustor_agent_snapshot_started_timestamp_seconds", "When the snapshot under way began"),
}
_STATES: Final = (
    "STOPPED",
    "STARTING",
    "MESSAGE_SYNC",
    "SNAPSHOT_SYNC",
    "RUNNING_CONF_OUTDATE",
    "STOPPING",
    "ERROR",
)


class SyncMetrics(Collector):
    """
    Turns the statuses of syncs into metrics.

    Args:
        statuses: Returns the `syncs` of `GET /api/instances`.
        clock: Epoch seconds.
    """

    def __init__(self, statuses: Callable[[], list[dict[str, Any]]], clock: Callable[[], float]) -> None:
        self._statuses = statuses
        self._clock = clock
        self._checkpoints: dict[str, tuple[Any, float]] = {}

    def describe(self) -> Iterable[Metric]:
        """
        Return nothing: what there is depends on the syncs, and is read only when asked for.
        """
        return []

    def collect(self) -> Iterable[Metric]:
        """
        Read every status once and yield the metrics.
        """
        statuses = self._statuses()
        for field, (name, text) in _COUNTERS.items():
            yield _fill(CounterMetricFamily(name, text, labels=("sync",)), statuses, field)
        for field, (name, text) in _GAUGES.items():
            yield _fill(GaugeMetricFamily(name, text, labels=("sync",)), statuses, field)
        snapshots = [{**(one.get("snapshot") or {}), "id": one["id"]} for one in statuses]
        for field, (name, text) in _SNAPSHOT.items():
            yield _fill(GaugeMetricFamily(name, text, labels=("sync",)), snapshots, field)
        yield self._checkpoint_ages(statuses)
        states = GaugeMetricFamily(
            "fustor_agent_sync_state", "1 for each state the sync is in", labels=("sync", "state")
        )
        for status in statuses:
            for state in _STATES:
                states.add_metric((status["id"], state), float(state in status.get("states", ())))
        yield states

    def _checkpoint_ages(self, statuses: list[dict[str, Any]]) -> Metric:
        ages = GaugeMetricFamily(
            "fustor_agent_checkpoint_age_seconds",
            "Time since the checkpoint was last seen to move; grows without end when a sync is stuck",
            labels=("sync",),
        )
        now = self._clock()
        for status in statuses:
            id_, checkpoint = status["id"], status.get("checkpoint")
            if checkpoint is None:
                continue
            seen, since = self._checkpoints.get(id_, (None, now))
            if seen != checkpoint:
                since = now
            self._checkpoints[id_] = (checkpoint, since)
            ages.add_metric((id_,), now - since)
        return ages


def _fill(family: Any, statuses: list[dict[str, Any]], field: str) -> Metric:
    for status in statuses:
        value = _number(status, field)
        if value is not None:
            family.add_metric((status["id"],), value)
    metric: Metric = family
    return metric


def _number(status: Mapping[str, Any], field: str) -> float | None:
    value = status.get(field)
    return float(value) if isinstance(value, int | float) else None
