"""
The ingest path: pushes and the position to go on from.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute

from fustor_common.openapi import error_answers
from fustor_core.errors import FustorError, InvalidRequest
from fustor_core.models.envelope import Envelope, PushAnswer
from fustor_fusion.api.access import WriteStore, open_datastore
from fustor_fusion.api.wire_schema import content_of
from fustor_fusion.ingest import content_type, read_body, read_envelope
from fustor_fusion.metrics import FusionMetrics

_PREFIX: Final = "/ingestor-api/v1/events"
PUSH_PATH: Final = f"{_PREFIX}/"

router = APIRouter(prefix=_PREFIX, tags=["ingest"], responses=error_answers(400, 401, 403, 404, 419, 503))
_encode = msgspec.json.Encoder().encode


class _PlainRoute(APIRoute):
    """
    A route whose function reads the request itself. What the framework would take from it costs as much as storing a row.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler: Callable[[Request], Coroutine[Any, Any, Response]] = self.endpoint
        return handler


async def push(request: Request) -> Response:
    """
    Takes the envelope (JSON or MessagePack; zstd or gzip) and answers a `PushAnswer`.
    """
    metrics: FusionMetrics = request.app.state.fusion_metrics
    source_type = "unknown"
    outcome = "failed"
    try:
        headers = request.headers
        datastore = await open_datastore(request, headers.get("x-api-key"), "ingest")
        kind = content_type(headers.get("content-type", ""))
        length = _length(headers.get("content-length"))
        with datastore.applier.live_push(length) as live:
            body = await read_body(
                request.stream(),
                length,
                headers.get("content-encoding", ""),
                request.app.state.settings.max_body_bytes,
                datastore.applier,
            )
            size = len(body)
            metrics.body_bytes.inc(size)
            try:
                envelope = read_envelope(body, kind)
                source_type = envelope.source_type
                _check_task(envelope.task_id, datastore.sessions.need(envelope.session_id).task_id)
                await datastore.quota.check(envelope)
                if source_type == "snapshot":
                    live.leave()
                    datastore.applier.check_share()
            except BaseException:
                datastore.applier.release(size)
                raise
            del body
            answer = await datastore.push(envelope, size)
        outcome = "stored"
        return Response(_encode(answer), media_type="application/json")
    except FustorError as exc:
        outcome = exc.code
        raise
    finally:
        metrics.pushes.labels(source_type, outcome).inc()


router.add_api_route(
    "/",
    push,
    methods=["POST"],
    route_class_override=_PlainRoute,
    summary="Store an envelope; answered when it is on disk",
    response_class=Response,
    responses={
        200: {"description": "It is on disk", **content_of(PushAnswer)},
        **error_answers(409, 413, 415, 422, 429),
    },
    openapi_extra={"requestBody": {"required": True, **content_of(Envelope)}},
)


def _length(header: str | None) -> int | None:
    if header is None:
        return None
    if not header.isdecimal():
        raise InvalidRequest(f"the Content-Length {header!r} is no number")
    return int(header)


def _check_task(named: str | None, own: str) -> None:
    if named is not None and named != own:
        raise InvalidRequest(
            f"the envelope is for sync {named!r} and its session for {own!r}",
            hint="open a session for each sync",
            context={"task_id": named, "session_task_id": own},
        )


@router.get("/position", summary="The checkpoint on disk of a session's sync; -1 = none")
async def position(session_id: str, datastore: WriteStore) -> dict[str, int]:
    return {"index": await run_in_threadpool(datastore.checkpoint, session_id)}
