"""
Finds in a service's OpenAPI document where it takes pushes, sessions and heartbeats.

By name: `x-fustor-ingest-batch-endpoint`, `x-fustor-open-session-endpoint`, `x-fustor-heartbeat-endpoint` and
`x-fustor-status-endpoint`, at the top of the document or in `info` with a path, or `true` at an operation. Else by the
end of well-known paths. Only the batch endpoint must be there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin

from fustor_core.errors import ConfigError
from fustor_pusher_openapi.params import OpenApiParams

BATCH: Final = "x-fustor-ingest-batch-endpoint"
SESSION: Final = "x-fustor-open-session-endpoint"
HEARTBEAT: Final = "x-fustor-heartbeat-endpoint"
STATUS: Final = "x-fustor-status-endpoint"

_WELL_KNOWN: Final = {
    BATCH: ("post", ("/ingestor-api/v1/events", "/ingest/batch", "/events/batch", "/ingest", "/events")),
    SESSION: ("post", ("/ingestor-api/v1/sessions", "/ingest/sessions", "/sessions", "/session")),
    HEARTBEAT: ("post", ("/sessions/heartbeat", "/session/heartbeat", "/heartbeat")),
    STATUS: ("get", ("/events/position", "/ingest/position", "/position", "/ingest/status")),
}
_HINT: Final = (
    f"name it in the document as `{BATCH}: /path`, or in the pusher as `driver_params: {{batch_endpoint: /path}}`"
)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """
    Full URLs; None = the service has no such endpoint.
    """

    batch: str
    session: str | None
    heartbeat: str | None
    status: str | None


def find_endpoints(document: dict[str, Any], url: str, params: OpenApiParams) -> Endpoints:
    """
    Find the endpoints.

    Args:
        document: The OpenAPI document.
        url: Where it came from.
        params: What is set there counts before the document.

    Raises:
        ConfigError: There is no batch endpoint.
    """
    base = _base(document, url)
    operations = list(_operations(document))

    def full(path: str | None) -> str | None:
        return None if path is None else urljoin(base, path if "://" in path else path.lstrip("/"))

    batch = full(params.batch_endpoint or _find(document, operations, BATCH))
    if batch is None:
        paths = ", ".join(sorted({path for path, _, _ in operations})[:12]) or "none"
        raise ConfigError(
            f"the OpenAPI document {url} names no endpoint that takes pushes; its paths: {paths}",
            hint=_HINT,
            context={"openapi_url": url},
        )
    return Endpoints(
        batch,
        full(params.session_endpoint or _find(document, operations, SESSION)),
        full(params.heartbeat_endpoint or _find(document, operations, HEARTBEAT)),
        full(params.status_endpoint or _find(document, operations, STATUS)),
    )


def _base(document: dict[str, Any], url: str) -> str:
    servers = document.get("servers")
    first = servers[0].get("url") if isinstance(servers, list) and servers and isinstance(servers[0], dict) else None
    # Without servers, paths count from the root of the host (OpenAPI 3.1, section 4.8.1).
    return urljoin(url, str(first) if first else "/").rstrip("/") + "/"


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    paths = document.get("paths")
    for path, item in (paths if isinstance(paths, dict) else {}).items():
        for method, operation in (item if isinstance(item, dict) else {}).items():
            if isinstance(operation, dict):
                yield str(path), str(method).lower(), operation


def _find(document: dict[str, Any], operations: list[tuple[str, str, dict[str, Any]]], name: str) -> str | None:
    info = document.get("info")
    for place in (document, info if isinstance(info, dict) else {}):
        if isinstance(place.get(name), str):
            return str(place[name])
    for path, _, operation in operations:
        if operation.get(name) is True:
            return path
    method, ends = _WELL_KNOWN[name]
    for end in ends:
        for path, its, _ in operations:
            if its == method and path.rstrip("/").endswith(end):
                return path
    return None
