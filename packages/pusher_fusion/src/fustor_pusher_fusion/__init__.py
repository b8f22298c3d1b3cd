"""
Fustor pusher driver that sends events to a Fusion service.
"""

from fustor_pusher_fusion.driver import FusionPusher

__all__ = ["FusionPusher"]
