"""
Secrets in the configuration: references resolved at the last moment, and masks for everything that is shown.

- `${NAME}` anywhere in a text of `credential`, `uri`, `endpoint` or `driver_params` stands for an environment variable; `$${` is a plain `${`.
- `file:PATH` as the whole of a text in `credential` stands for what that file holds, without the line end.
"""

from __future__ import annotations

import datetime
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from fustor_agent.writable import writable
from fustor_core.errors import ConfigError
from fustor_core.models.config import PusherConfig, SourceConfig

MASK: Final = "***"

_REFERENCE = re.compile(r"\$(\$(?=\{))|\$\{([^}]*)\}")
_URL_PASSWORD = re.compile(r"(://[^/?#@\s:]*:)([^/?#@\s]+)(@)")
_NAMED_SECRET = re.compile(r"(?i)\b((?:pass(?:wd|word|phrase)?|pwd|secret|(?:access_?)?token|api_?key)=)([^&;\s]+)")
_SECRET_NAME = re.compile(
    r"(?i)(pass(wd|word|phrase)?|secret|salt|token|api_?key|access_?key|private_?key|credential|authorization)s?$"
)
REFERRING: Final = ("uri", "endpoint", "driver_params")
"""
The keys of a source or pusher, beside `credential`, in which `${NAME}` is resolved.
"""

_LEAST_SECRET: Final = 3
"""
Shorter secrets are not looked for in what a driver says: they would be found in every other word.
"""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def resolve(entry: dict[str, Any]) -> dict[str, Any]:
    """
    Return a source or pusher, as it stands in the file, with every reference replaced by what it stands for.

    Raises:
        ConfigError: A variable is not set or a file can't be read; says which, never what the others hold.
    """
    resolved = dict(entry)
    if "credential" in entry:
        resolved["credential"] = _map(entry["credential"], _credential_text, "credential")
    for name in REFERRING:
        if name in entry:
            resolved[name] = _map(entry[name], _plain_text, name)
    return resolved


def wrong_reference(value: Any, path: str) -> tuple[str, str, str] | None:
    """
    Return where below `path` a reference is written wrongly, what is wrong, and what is allowed; None when none is.
    """
    if isinstance(value, dict):
        inner = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, list):
        inner = [(str(at), item) for at, item in enumerate(value)]
    else:
        return _wrong_text(value, path) if isinstance(value, str) else None
    return next((wrong for key, item in inner if (wrong := wrong_reference(item, f"{path}.{key}"))), None)


def _wrong_text(text: str, path: str) -> tuple[str, str, str] | None:
    allowed = "allowed: `${NAME}` with the name of an environment variable; `$${` is a plain `${`"
    for match in re.finditer(r"(?<!\$)\$\{([^}]*)(\}?)", text):
        if not match[2]:
            return path, "a `${` is not closed", allowed
        if not _VARIABLE.fullmatch(match[1]):
            return path, "what stands in `${...}` is no name of an environment variable", allowed
    if text == "file:" and path.startswith("credential"):
        return path, "`file:` names no file", "allowed: `file:/path/of/the/file` that holds the secret"
    return None


def is_secret(name: str) -> bool:
    """
    Tell by its name whether a key holds a secret.
    """
    return _SECRET_NAME.search(name) is not None


def mask(entry: Any, *, name: str = "", in_credential: bool = False) -> Any:
    """
    Return configuration with every secret that stands in it in clear replaced by `***`; references stay as they are.

    What an answer can't carry (see `plain_values`) is `***` too, or written with escapes: such an entry is wrong, and shown all the same.
    """
    if isinstance(entry, dict):
        return {
            key if isinstance(key, int | float | None) else writable(str(key)): mask(
                value, name=str(key), in_credential=in_credential or key == "credential"
            )
            for key, value in entry.items()
        }
    if isinstance(entry, list):
        return [mask(value, name=name, in_credential=in_credential) for value in entry]
    if entry is None or isinstance(entry, bool):
        return entry
    secret = _is_hidden(name, in_credential=in_credential)
    if not isinstance(entry, str):
        is_shown = isinstance(entry, int | datetime.date) or (isinstance(entry, float) and math.isfinite(entry))
        return entry if is_shown and not secret else MASK
    if not secret:
        return writable(_NAMED_SECRET.sub(_mask_named, _URL_PASSWORD.sub(_mask_password, entry)))
    return entry if is_reference(entry) else MASK


def _is_hidden(name: str, *, in_credential: bool) -> bool:
    return (in_credential and name != "user") or is_secret(name)


def without(text: str, secrets: Iterable[str]) -> str:
    """
    Return what a driver says with `***` in place of the secrets that it was given.
    """
    for secret in secrets:
        if len(secret) >= _LEAST_SECRET:
            text = text.replace(secret, MASK)
    return text


def secrets_of(config: SourceConfig | PusherConfig) -> Iterator[str]:
    """
    Give the secrets of a source or pusher whose references are resolved.
    """
    for value in dict(config.credential or ()).values():
        if isinstance(value, SecretStr):
            yield value.get_secret_value()


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


def left_masked(given: Any, known: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """
    Give the places of secrets in which `***` is left after `unmask`, where `known` has another text: whoever wrote something around it,
    or changed the address that it stands in, would save a secret that is none.
    """
    if isinstance(given, dict):
        old = known if isinstance(known, dict) else {}
        for key, value in given.items():
            yield from left_masked(value, old.get(key), (*place, str(key)))
    elif isinstance(given, list):
        old_items = known if isinstance(known, list) and len(known) == len(given) else [None] * len(given)
        for at, (value, before) in enumerate(zip(given, old_items, strict=True)):
            yield from left_masked(value, before, (*place, str(at)))
    elif isinstance(given, str) and given != known and MASK in given:
        name = next((one for one in reversed(place) if not one.isdigit()), "")
        within = (found[2] for pattern in (_URL_PASSWORD, _NAMED_SECRET) for found in pattern.finditer(given))
        if _is_hidden(name, in_credential="credential" in place) or any(MASK in text for text in within):
            yield place


def _mask_password(match: re.Match[str]) -> str:
    return match[0] if is_reference(match[2]) else f"{match[1]}{MASK}{match[3]}"


def _mask_named(match: re.Match[str]) -> str:
    return match[0] if is_reference(match[2]) else f"{match[1]}{MASK}"


def _map(value: Any, change: Callable[[str, str], str], path: str) -> Any:
    if isinstance(value, str):
        return change(value, path)
    if isinstance(value, dict):
        return {key: _map(item, change, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [_map(item, change, f"{path}.{at}") for at, item in enumerate(value)]
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
