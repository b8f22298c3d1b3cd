"""
Health of a service: `/health/live` (the process answers) and `/health/ready` (it can do its work, by named checks).
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from fustor_common.http import ErrorAnswer

Check = Callable[[], "str | Awaitable[str | None] | None"]
"""
Returns (or awaits to) None when all is well, else a sentence that says what is not.
"""

CHECK_TIMEOUT_S = 2.0


class Health:
    """
    The named checks of one service.
    """

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        """
        Add a check, or replace the one of that name. It runs on the event loop and must not block.
        """
        self._checks[name] = check

    def remove(self, name: str) -> None:
        """
        Remove a check; an unknown name is fine.
        """
        self._checks.pop(name, None)

    async def run(self) -> dict[str, str]:
        """
        Run every check and return name -> "ok" or what is wrong. A check that raises or takes too long is not ok.
        """
        names = list(self._checks)
        answers = await asyncio.gather(*(self._run_one(self._checks[name]) for name in names))
        return dict(zip(names, answers, strict=True))

    @staticmethod
    async def _run_one(check: Check) -> str:
        try:
            answer = check()
            if inspect.isawaitable(answer):
                answer = await asyncio.wait_for(answer, CHECK_TIMEOUT_S)
        except TimeoutError:
            return f"no answer within {CHECK_TIMEOUT_S:g} s"
        except Exception as exc:  # noqa: BLE001 - a check that breaks is an answer: not ready, and why
            return f"{type(exc).__name__}: {exc}"
        return answer or "ok"


def health_router(health: Health, service: str) -> APIRouter:
    """
    Build `GET /health/live` and `GET /health/ready`.
    """
    router = APIRouter(prefix="/health", tags=["service"])

    async def live() -> dict[str, Any]:
        return {"status": "live", "service": service}

    async def ready() -> JSONResponse:
        checks = await health.run()
        failed = {name: answer for name, answer in checks.items() if answer != "ok"}
        if not failed:
            return JSONResponse({"status": "ready", "service": service, "checks": checks})
        return JSONResponse(
            {
                "code": "service.not_ready",
                "message": f"{service} is not ready: " + "; ".join(f"{n}: {a}" for n, a in failed.items()),
                "hint": "wait a moment; if it stays so, the service's log says more",
                "context": {"checks": checks},
            },
            status_code=503,
            headers={"Retry-After": "1"},
        )

    router.add_api_route("/live", live, summary="The process answers")
    router.add_api_route(
        "/ready",
        ready,
        summary="The service can do its work; 503 with the reasons while not",
        responses={503: {"description": "Not ready; `context.checks` says what is wrong", "model": ErrorAnswer}},
    )
    return router
