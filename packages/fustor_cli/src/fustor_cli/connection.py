"""
Which Fusion to ask, and with which key: the options, else the environment, else what `fustor up` remembers.
"""

from __future__ import annotations

import os
from contextlib import suppress

from fustor_cli.local.layout import Layout
from fustor_cli.local.state import again, load
from fustor_client.fusion import FusionClient
from fustor_client.transport import StdlibTransport
from fustor_core.errors import ConfigError, ConnectionLost, FustorError, NotFoundError, Unauthorized


def fusion(url: str | None, key: str | None, *, timeout_s: float = 30.0) -> FusionClient:
    """
    Return a client of the Fusion that is meant.

    Raises:
        ConfigError: It can't be told which is meant.
    """
    url = url or os.environ.get("FUSTOR_URL")
    key = key or os.environ.get("FUSTOR_API_KEY")
    if url is None or key is None:
        state = load(Layout.here())
        own_url = None if state is None else state.ports.url("fusion")
        # The key that `fustor up` made is for its own Fusion; it is not sent to another address.
        if key is None and state is not None and url in {None, own_url}:
            key = state.key
        url = url or own_url
    if url is None:
        raise ConfigError(
            "no services are set up here", hint="start them with `fustor up PATH`, or give --url and --key of a Fusion"
        )
    if key is None:
        raise ConfigError(f"no API key for {url}", hint="give --key, or set FUSTOR_API_KEY")
    return FusionClient(url, key, transport=StdlibTransport(url.rstrip("/"), timeout_s))


def explain(exc: FustorError) -> FustorError:
    """
    Replace the hint of an error where this command knows better.
    """
    if isinstance(exc, ConnectionLost):
        from fustor_cli.local.control import running_board  # what only a failure needs

        layout, state = Layout.here(), None
        with suppress(FustorError):  # the error at hand is the one to tell
            state = load(layout)
        if state is None or not str(exc.context.get("url", "")).startswith(state.ports.url("fusion")):
            return exc
        if running_board(layout) is None:
            exc.message = f"Fusion does not run at {state.ports.url('fusion')}"
            exc.hint = f"start it with `{again(state)}` (the data is still there)"
        else:
            exc.hint = f"see `fustor status`, and {str(layout.log('fusion'))!r}"
    elif isinstance(exc, NotFoundError) and "/views/fs/trees" in exc.hint:
        exc.hint = "`fustor stats` lists the trees and their ids"
    elif isinstance(exc, Unauthorized) and "url" in exc.context:  # refused by a service for the key it got
        exc.hint = "check --key or FUSTOR_API_KEY; without them the key is used that `fustor up` made"
    return exc
