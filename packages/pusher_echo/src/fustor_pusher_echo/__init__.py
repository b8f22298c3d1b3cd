"""
Fustor pusher driver that prints what it is given: for trials and debugging.
"""

from fustor_pusher_echo.driver import EchoPusher

__all__ = ["EchoPusher"]
