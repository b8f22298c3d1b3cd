"""
Typed synchronous and asynchronous client of the Fustor Registry, Fusion and Agent APIs.

`FusionClient`, `RegistryClient` and `AgentClient` block; `AsyncFusionClient`,
`AsyncRegistryClient` and `AsyncAgentClient` are their asynchronous twins. Answers are msgspec structs (`fustor_client.models`); an error of the service comes back as the
class of `fustor_core.errors` that it was there. Names are loaded on first use, so that a command starts fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fustor_client.agent import AgentClient
    from fustor_client.agent_async import AsyncAgentClient
    from fustor_client.fusion import FusionClient
    from fustor_client.fusion_async import AsyncFusionClient
    from fustor_client.registry import RegistryClient
    from fustor_client.registry_async import AsyncRegistryClient

__all__ = [
    "AgentClient",
    "AsyncAgentClient",
    "AsyncFusionClient",
    "AsyncRegistryClient",
    "FusionClient",
    "RegistryClient",
]

_HOMES = {
    "AgentClient": "fustor_client.agent",
    "AsyncAgentClient": "fustor_client.agent_async",
    "AsyncFusionClient": "fustor_client.fusion_async",
    "AsyncRegistryClient": "fustor_client.registry_async",
    "FusionClient": "fustor_client.fusion",
    "RegistryClient": "fustor_client.registry",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
