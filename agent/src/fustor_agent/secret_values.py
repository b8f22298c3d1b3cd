"""
Secrets in the configuration: references resolved at the last moment, and masks for everything that is shown.

- `${NAME}` anywhere in a text of `credential`, `uri`, `endpoint` or `driver_params` stands for an environment variable; `$${` is a plain `${`.
- `file:PATH` as the whole of a text in `credential` stands for what that file holds, without the line end.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fustor_core.errors import ConfigError

MASK: Final = "***"

_REFERENCE = re.compile(r"\$(\$(?=\{))|\$\{([^}]*)\}")
_URL_PASSWORD = re.compile(r"(://[^/?#@\s:]*:)([^/?#@\s]+)(@)")
_SECRET_NAME = re.compile(
    r"(?i)(pass(wd|word|phrase)?|secret|token|api_?key|access_?key|private_?key|credential|authorization)s?$"
)
_REFERRING = ("uri", "endpoint", "driver_params")


def resolve(entry: dict[str, Any]) -> dict[str, Any]:
    """
    Return a source or pusher, as it stands in the file, with every reference replaced by what it stands for.

    Raises:
        ConfigError: A variable is not set or a file can't be read; says which, never what the others hold.
    """
    resolved = dict(entry)
    if "credential" in entry:
        resolved["credential"] = _map(entry["credential"], _credential_text, "credential")
    for name in _REFERRING:
        if name in entry:
            resolved[name] = _map(entry[name], _plain_text, name)
    return resolved


def mask(entry: Any, *, name: str = "", in_credential: bool = False) -> Any:
    """
    Return configuration with every secret that stands in it in clear replaced by `***`; references stay as they are.
    """
    if isinstance(entry, dict):
        return {
            key: mask(value, name=str(key), in_credential=in_credential or key == "credential")
            for key, value in entry.items()
        }
    if isinstance(entry, list):
        return [mask(value, name=name, in_credential=in_credential) for value in entry]
    if entry is None or isinstance(entry, bool):
        return entry
    secret = (in_credential and name != "user") or bool(_SECRET_NAME.search(name))
    if not isinstance(entry, str):
        return MASK if secret else entry
    if not secret:
        return _URL_PASSWORD.sub(_mask_password, entry)
    return entry if is_reference(entry) else MASK


def is_reference(text: str) -> bool:
    """
    Tell whether a text only refers to a secret, and holds none itself.
    """
    return text.startswith("file:") or re.fullmatch(r"\$\{[^}]*\}", text) is not None


def unmask(given: Any, known: Any) -> Any:
    """
    Put back what a masked answer of the API left out: where `given` has `***`, take what `known` has at the same place.
    """
    if isinstance(given, dict):
        old = known if isinstance(known, dict) else {}
        return {key: unmask(value, old.get(key)) for key, value in given.items()}
    if isinstance(given, list):
        old_items = known if isinstance(known, list) and len(known) == len(given) else [None] * len(given)
        return [unmask(value, before) for value, before in zip(given, old_items, strict=True)]
    if isinstance(given, str) and isinstance(known, str) and given in (MASK, mask(known)):
        return known
    return given


def _mask_password(match: re.Match[str]) -> str:
    return match[0] if is_reference(match[2]) else f"{match[1]}{MASK}{match[3]}"


def _map(value: Any, change: Callable[[str, str], str], path: str) -> Any:
    if isinstance(value, str):
        return change(value, path)
    if isinstance(value, dict):
        return {key: _map(item, change, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_map(item, change, f"{path}[{at}]") for at, item in enumerate(value)]
    return value


def _credential_text(text: str, path: str) -> str:
    if not text.startswith("file:"):
        return _plain_text(text, path)
    name = text.removeprefix("file:")
    try:
        return Path(name).expanduser().read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
        raise ConfigError(
            f"`{path}` refers to the file {name!r}, which can't be read: {why}",
            hint="create the file with the secret in it, readable for the agent's user",
            context={"path": path, "file": name},
        ) from None


def _plain_text(text: str, path: str) -> str:
    if "$" not in text:
        return text

    def value_of(match: re.Match[str]) -> str:
        if match[1]:
            return "$"  # of `$${` one dollar stays
        name = match[2]
        value = os.environ.get(name)
        if value is None:
            raise ConfigError(
                f"`{path}` refers to the environment variable {name!r}, which is not set",
                hint=f"set {name} where the agent is started (`$${{` writes a plain `${{`)",
                context={"path": path, "variable": name},
            )
        return value

    return _REFERENCE.sub(value_of, text)
