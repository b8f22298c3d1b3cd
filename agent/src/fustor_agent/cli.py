"""
The command `fustor-agent start [-D] | stop | status`.
"""

from __future__ import annotations

from fustor_agent.settings import AgentSettings
from fustor_common.cli import build_service_cli

main = build_service_cli("Agent", "fustor_agent.main:app", AgentSettings)
