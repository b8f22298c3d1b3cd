"""
The command `fustor-fusion`.
"""

from __future__ import annotations

from fustor_common.cli import build_service_cli
from fustor_fusion.settings import FusionSettings

main = build_service_cli("Fusion", "fustor_fusion.main:app", FusionSettings)
