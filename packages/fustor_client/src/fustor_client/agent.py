"""
The synchronous client of the Agent: what runs, and its configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

from fustor_client import models
from fustor_client.base import BaseClient
from fustor_client.calls import Call
from fustor_core.errors import NotFoundError

Kind = Literal["sources", "pushers", "syncs"]


class AgentClient(BaseClient):
    """
    Reads and changes the configuration of one agent and tells how its syncs fare.
    """

    def instances(self) -> models.Instances:
        """
        Return what the agent runs.
        """
        return self._send(Call[models.Instances]("GET", "/api/instances", models.Instances))

    def config(self, kind: Kind, config_id: str) -> dict[str, Any] | None:
        """
        Return one configuration with its secrets masked, None when there is none of this id.
        """
        call = Call[dict[str, Any]]("GET", self._path(kind, config_id), dict[str, Any])
        try:
            return self._send(call)
        except NotFoundError:
            return None

    def put_config(self, kind: Kind, config_id: str, config: Mapping[str, Any]) -> None:
        """
        Create or replace one configuration. It takes effect with `apply`.
        """
        self._send(Call[None]("PUT", self._path(kind, config_id), None, body=dict(config)))

    def delete_config(self, kind: Kind, config_id: str) -> None:
        """
        Remove one configuration. It takes effect with `apply`.
        """
        self._send(Call[None]("DELETE", self._path(kind, config_id), None))

    def apply(self) -> None:
        """
        Make the running syncs follow the configuration.
        """
        self._send(Call[None]("POST", "/api/configs/apply", None))

    def start(self, sync: str) -> None:
        """
        Start a sync that was stopped or has given up; one that waits to try again does so at once.
        """
        self._send(Call[None]("POST", f"/api/instances/{quote(sync, safe='')}/start", None))

    def stop(self, sync: str) -> None:
        """
        Stop a sync until it is started again or the agent restarts.
        """
        self._send(Call[None]("POST", f"/api/instances/{quote(sync, safe='')}/stop", None))

    @staticmethod
    def _path(kind: Kind, config_id: str) -> str:
        return f"/api/configs/{kind}/{quote(config_id, safe='')}"
