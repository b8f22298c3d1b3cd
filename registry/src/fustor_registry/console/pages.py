"""
Imports every page, which registers it.
"""

from __future__ import annotations

from fustor_registry.console import account, agents, audit, datastores, keys, users

__all__ = ["account", "agents", "audit", "datastores", "keys", "users"]
