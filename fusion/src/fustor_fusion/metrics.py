"""
Fusion's own metrics, one set per app.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class FusionMetrics:
    """
    The metrics of one service.

    Args:
        registry: Where `GET /metrics` finds them.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.pushes = Counter("fustor_fusion_pushes", "Pushes answered.", ["source_type", "outcome"], registry=registry)
        self.applied = Counter("fustor_fusion_rows_applied", "Rows that changed something.", registry=registry)
        self.stale = Counter("fustor_fusion_rows_stale", "Rows that were older than what is stored.", registry=registry)
        self.swept = Counter("fustor_fusion_rows_swept", "Rows removed at the end of snapshots.", registry=registry)
        self.removed = Counter(
            "fustor_fusion_syncs_removed", "Syncs whose data was removed because nobody fed them.", registry=registry
        )
        self.body_bytes = Counter(
            "fustor_fusion_body_bytes", "Bytes of push bodies, after decompression.", registry=registry
        )
        self.commit_seconds = Histogram(
            "fustor_fusion_commit_seconds",
            "Time of a commit to disk, seconds.",
            buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
            registry=registry,
        )
        self.group_pushes = Histogram(
            "fustor_fusion_group_pushes",
            "Pushes that shared one commit.",
            buckets=(0, 1, 2, 4, 8, 16, 32, 64, 128),
            registry=registry,
        )
        self.queue_bytes = Gauge(
            "fustor_fusion_queue_bytes", "Bodies that are read or wait to be stored, bytes.", registry=registry
        )
        self.live_readers = Gauge("fustor_fusion_live_readers", "Readers of the live tail.", registry=registry)
        self.sessions = Gauge("fustor_fusion_sessions", "Live sessions.", registry=registry)
