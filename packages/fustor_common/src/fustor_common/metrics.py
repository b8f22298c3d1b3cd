"""
Prometheus metrics: one collector registry per app, so that two apps in one process (tests) never clash.
"""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest


def create_metrics() -> CollectorRegistry:
    """
    Return a new collector registry that already holds the process's own figures (CPU, memory, open files, start time).
    """
    metrics = CollectorRegistry()
    ProcessCollector(registry=metrics)
    return metrics


def metrics_router(metrics: CollectorRegistry) -> APIRouter:
    """
    Build `GET /metrics`.
    """
    router = APIRouter(tags=["service"])

    def read_metrics() -> Response:
        return Response(generate_latest(metrics), headers={"Content-Type": CONTENT_TYPE_LATEST})

    router.add_api_route(
        "/metrics", read_metrics, response_class=Response, summary="Figures in the Prometheus text format"
    )
    return router
