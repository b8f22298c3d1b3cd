"""
The command `fustor-registry`.
"""

from __future__ import annotations

from fustor_common.cli import build_service_cli
from fustor_registry.settings import RegistrySettings


def main() -> None:
    """
    Run `fustor-registry start | stop | status`.
    """
    build_service_cli("Registry", "fustor_registry.main:app", RegistrySettings)()
