"""
The token of the agent's API: made by the agent when it first starts, read by whoever may read its state folder.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from fustor_common import atomicfile
from fustor_core.errors import ConfigError

VARIABLE: Final = "FUSTOR_AGENT_API_TOKEN"
LEAST_CHARACTERS: Final = 16


def token_file(root: Path) -> Path:
    """
    Return where the agent of a config root keeps the token that it made.
    """
    return root / "state" / "agent-token"


def read_token(root: Path) -> str | None:
    """
    Return the token of the agent of a config root: of the environment, else of its file; None when there is none (yet), or it may not be
    read.
    """
    given = os.environ.get(VARIABLE)
    if given:
        return given
    try:
        return token_file(root).read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def ensure_token(root: Path) -> str:
    """
    Return the token that the agent of a config root has made; make it, readable for its owner only, when there is none.

    Raises:
        ConfigError: It can't be read or written, or is too short.
    """
    path = token_file(root)
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomicfile.write_text(path, secrets.token_urlsafe(32) + "\n")
        token = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(
            f"the token of the API in {str(path)!r} can't be read or made: {getattr(exc, 'strerror', None) or exc}",
            hint=f"make it readable for the agent's user, remove it (a new one is made), or set {VARIABLE}",
            context={"path": str(path)},
        ) from None
    if len(token) < LEAST_CHARACTERS:
        raise ConfigError(
            f"the token of the API in {str(path)!r} has fewer than {LEAST_CHARACTERS} characters",
            hint="remove the file: a new token is made at the next start",
            context={"path": str(path)},
        )
    return token
