"""
`/api/drivers`: what is installed, what could not be loaded and why, and what the set-up wizard needs.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from fustor_agent.api.access import Access, Running
from fustor_agent.secret_values import resolve

router = APIRouter(prefix="/api/drivers", tags=["drivers"], dependencies=[Access])


class Trial(BaseModel):
    """
    A source or pusher that is not in the configuration yet; references are resolved.
    """

    model_config = ConfigDict(extra="forbid")

    uri: str = ""
    endpoint: str = ""
    credential: dict[str, Any] | None = None
    admin_creds: dict[str, Any] | None = None
    driver_params: dict[str, Any] = {}


@router.get("")
async def read_drivers(service: Running) -> dict[str, Any]:
    """
    Return every driver, usable or not.
    """
    parts = service.supervisor.parts
    return {
        "sources": [asdict(plugin) for plugin in parts.sources.list()],
        "pushers": [asdict(plugin) for plugin in parts.pushers.list()],
    }


@router.get("/sources/{name}/wizard")
async def source_wizard(name: str, service: Running) -> dict[str, Any]:
    """
    Return the steps to set up a source.
    """
    return await service.supervisor.parts.sources.get(name).get_wizard_steps()


@router.get("/pushers/{name}/wizard")
async def pusher_wizard(name: str, service: Running) -> dict[str, Any]:
    """
    Return the steps to set up a pusher.
    """
    return await service.supervisor.parts.pushers.get(name).get_wizard_steps()


@router.post("/sources/{name}/test")
async def test_source(name: str, trial: Trial, service: Running) -> dict[str, Any]:
    """
    Try a source: the connection, then the rights, then its settings; ends at the first that is not well.
    """
    driver = service.supervisor.parts.sources.get(name)
    given = _resolved(trial)
    what = {key: given[key] for key in ("uri", "credential", "admin_creds", "driver_params")}
    for check in (driver.test_connection, driver.check_privileges, driver.check_runtime_params):
        ok, said = await check(**what)
        if not ok:
            return {"ok": False, "check": check.__name__, "message": said}
    return {"ok": True, "check": "all", "message": "connection, privileges and settings are well"}


@router.post("/pushers/{name}/test")
async def test_pusher(name: str, trial: Trial, service: Running) -> dict[str, Any]:
    """
    Try a pusher.
    """
    driver = service.supervisor.parts.pushers.get(name)
    given = _resolved(trial)
    ok, said = await driver.test_connection(**{key: given[key] for key in ("endpoint", "credential", "driver_params")})
    return {"ok": ok, "check": "test_connection", "message": said}


def _resolved(trial: Trial) -> dict[str, Any]:
    given = trial.model_dump()
    admin = resolve({"credential": given["admin_creds"]})["credential"]
    return {**resolve(given), "admin_creds": admin}
