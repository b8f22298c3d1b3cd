"""
What hides values: hash with a salt, a fixed text, the first characters only. Null stays null.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any, Final

from fustor_agent.secret_values import MASK, resolve
from fustor_agent.transforms.functions import as_text
from fustor_core.errors import ConfigError
from fustor_core.models.transforms import MaskStep

KEY_DIGITS: Final = 32
"""
Fewest hex digits of a hash that stands for a key: 128 bits, so that no two rows of a table ever get the same.
"""

_LEAST_SALT: Final = 8


def mask_of(step: MaskStep) -> Callable[[Any], Any]:
    """
    Return what hides a value.

    Raises:
        ConfigError: The salt can't be read, or is too short.
    """
    if step.method == "hash":
        return _hash(_salt(step), step.digits)
    if step.method == "truncate":
        length = step.length or 0
        return lambda value: None if value is None else as_text(value)[:length]
    text = step.text
    return lambda value: None if value is None else text


def is_same_for_keys(step: MaskStep) -> bool:
    """
    Tell whether two values that differ still differ when they are hidden.
    """
    return step.method == "hash" and step.digits >= KEY_DIGITS


def _hash(salt: bytes, digits: int) -> Callable[[Any], Any]:
    def run(value: Any) -> Any:
        if value is None:
            return None
        # "surrogatepass": names of files need not be valid UTF-8.
        return hmac.digest(salt, as_text(value).encode("utf-8", "surrogatepass"), "sha256").hex()[:digits]

    return run


def _salt(step: MaskStep) -> bytes:
    assert step.salt is not None  # checked by the model
    # The same references as in a credential, resolved at the same moment: when the sync is made.
    try:
        text = resolve({"credential": {"salt": step.salt.get_secret_value()}})["credential"]["salt"]
    except ConfigError as exc:
        what = exc.message.replace("`credential.salt`", f"the salt of the hash of {', '.join(step.fields)}")
        raise ConfigError(what, hint=exc.hint, context=exc.context) from None
    if text == MASK or len(text) < _LEAST_SALT:
        raise ConfigError(
            f"the salt of the hash of {', '.join(step.fields)} is too short (or was lost when a masked answer was sent back)",
            hint=f"give it again: at least {_LEAST_SALT} characters, best as `${{ENV_NAME}}` or `file:PATH`",
        )
    return str(text).encode("utf-8", "surrogatepass")
