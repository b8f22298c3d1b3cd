"""
The three services as processes: command, environment, port.
"""

from __future__ import annotations

import os
import sys

import msgspec

from fustor_cli.local.layout import Layout
from fustor_cli.local.state import UpState

SERVICES = ("registry", "fusion", "agent")
STOP_ORDER = (("agent",), ("fusion",), ("registry",))
"""
The agent first: what it still holds goes to Fusion, which may ask the Registry about its key.
"""


class ServiceSpec(msgspec.Struct):
    """
    One process for the supervisor. `env` is added to the supervisor's own environment.
    """

    name: str
    command: list[str]
    env: dict[str, str]
    port: int


def service_specs(layout: Layout, state: UpState) -> list[ServiceSpec]:
    """
    Return the three services, set up for this config root. Holds the admin password: keep it private.
    """
    specs = []
    for name in SERVICES:
        prefix = f"FUSTOR_{name.upper()}_"
        port = state.ports.of(name)
        env = {
            "FUSTOR_CONFIG_DIR": str(layout.root),
            "FUSTOR_REGISTRY_URL": state.ports.url("registry"),
            "PYTHONUNBUFFERED": "1",
            f"{prefix}HOST": "127.0.0.1",
            f"{prefix}PORT": str(port),
            f"{prefix}LOG_CONSOLE": "false",
        }
        if name == "registry":
            env["FUSTOR_REGISTRY_ADMIN_PASSWORD"] = state.admin_password
        if name == "fusion":
            env["FUSTOR_FUSION_REGISTRY_URL"] = state.ports.url("registry")
        if name == "agent":
            env["FUSTOR_AGENT_REGISTRY_URL"] = state.ports.url("registry")
            env["FUSTOR_AGENT_REGISTRY_KEY_FILE"] = str(layout.key_file)
        specs.append(ServiceSpec(name, service_command(name), env, port))
    return specs


def service_command(name: str) -> list[str]:
    """
    Return the command that runs a service in the foreground.
    """
    # The plain runner of fustor_common starts faster than `fustor-<service> start` and ends in the same code.
    app, settings = f"fustor_{name}.main:app", f"fustor_{name}.settings:{name.capitalize()}Settings"
    return [sys.executable, "-m", "fustor_common", app, settings, "--no-console"]


def full_environment(spec: ServiceSpec) -> dict[str, str]:
    """
    Return the whole environment of a service.
    """
    return {**os.environ, **spec.env}
