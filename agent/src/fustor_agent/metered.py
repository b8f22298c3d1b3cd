"""
Measures what goes through a pusher, for `/metrics`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram

from fustor_core.drivers import PusherDriver
from fustor_core.models.event import EventBase

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class PushMetrics:
    """
    Counts pushes of all syncs.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.seconds = Histogram(
            "fustor_agent_push_seconds",
            "Time from sending a push to its answer, or its failure",
            ("sync", "source_type"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.failed = Counter(
            "fustor_agent_pushes_failed_total",
            "Pushes that failed, by the code of the error",
            ("sync", "code"),
            registry=registry,
        )


class MeteredPusher(PusherDriver):
    """
    Passes everything on to another pusher and measures its pushes.
    """

    def __init__(self, sync_id: str, inner: PusherDriver, metrics: PushMetrics) -> None:
        super().__init__(inner.id, inner.config)
        self.ordering = inner.ordering  # type: ignore[misc]  # which order the consumer settles is the inner driver's to say
        self.inner = inner
        self._sync_id = sync_id
        self._metrics = metrics

    async def push(self, events: Sequence[EventBase], **control: Any) -> dict[str, Any]:
        """
        Push, measured.
        """
        started = time.perf_counter()
        try:
            return await self.inner.push(events, **control)
        except Exception as exc:
            self._metrics.failed.labels(self._sync_id, getattr(exc, "code", type(exc).__name__)).inc()
            raise
        finally:
            kind = str(control.get("source_type", "message"))
            self._metrics.seconds.labels(self._sync_id, kind).observe(time.perf_counter() - started)

    async def create_session(self, task_id: str, **kwargs: Any) -> dict[str, Any]:
        """
        Open a session.
        """
        return await self.inner.create_session(task_id, **kwargs)

    async def heartbeat(self, **kwargs: Any) -> dict[str, Any]:
        """
        Keep the session alive.
        """
        return await self.inner.heartbeat(**kwargs)

    async def close_session(self, **kwargs: Any) -> None:
        """
        End the session.
        """
        await self.inner.close_session(**kwargs)

    async def get_latest_committed_index(self, **kwargs: Any) -> int:
        """
        Return the consumer's checkpoint.
        """
        return await self.inner.get_latest_committed_index(**kwargs)

    async def get_needed_fields(self, **kwargs: Any) -> dict[str, Any]:
        """
        Return the fields the consumer wants.
        """
        return await self.inner.get_needed_fields(**kwargs)

    async def close(self) -> None:
        """
        Let go of everything.
        """
        await self.inner.close()
