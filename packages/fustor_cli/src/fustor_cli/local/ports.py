"""
Which three ports the services get: what was asked for now, else what the environment says, else those of the last run.
"""

from __future__ import annotations

import os

from fustor_cli.local.services import SERVICES
from fustor_cli.local.state import Ports
from fustor_core.errors import ConfigError

PORT_MOST = 65535
PORT_BASE_MOST = PORT_MOST - len(SERVICES) + 1


def choose_ports(last: Ports, port_base: int | None = None) -> Ports:
    """
    The option wins, then `FUSTOR_<SERVICE>_PORT`, then `FUSTOR_PORT_BASE`, then the ports of the last run.

    Raises:
        ConfigError: A variable holds no port, or two services would have the same one.
    """
    if port_base is not None:
        return Ports.from_base(port_base)
    base = _port_of("FUSTOR_PORT_BASE", PORT_BASE_MOST)
    ports = last if base is None else Ports.from_base(base)
    given = {name: _port_of(f"FUSTOR_{name.upper()}_PORT", PORT_MOST) or ports.of(name) for name in SERVICES}
    if len(set(given.values())) < len(given):
        shown = ", ".join(f"{name.capitalize()} {port}" for name, port in given.items())
        raise ConfigError(f"two services have the same port: {shown}", hint="give each its own, or use --port-base")
    return Ports(**given)


def _port_of(variable: str, most: int) -> int | None:
    given = os.environ.get(variable)
    if not given:
        return None
    if not (given.isascii() and given.isdecimal()) or not 0 < int(given) <= most:
        raise ConfigError(
            f"{variable} is {given!r}, not a port from 1 to {most}", hint="set it to a number like 9100, or unset it"
        )
    return int(given)
