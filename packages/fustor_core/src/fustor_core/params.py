"""
Reading `driver_params`: one way for every driver to check them and to say what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from fustor_core.errors import ConfigError

Params = TypeVar("Params", bound=BaseModel)


def read_params(model: type[Params], given: Mapping[str, Any] | None, whose: str) -> Params:
    """
    Check `driver_params` against a driver's model.

    Args:
        model: What the driver knows; with `extra="forbid"` unknown names are told.
        given: As configured.
        whose: For the message: "fusion pusher 'p1'".

    Raises:
        ConfigError: A name is unknown or a value out of range; says each, and which names there are. Values are never shown.
    """
    try:
        return model.model_validate(dict(given or {}))
    except ValidationError as exc:
        errors = [(".".join(map(str, one["loc"])), one["msg"]) for one in exc.errors(include_input=False)]
        raise ConfigError(
            f"{whose}: " + "; ".join(f"`driver_params.{where}`: {what}" for where, what in errors),
            hint=f"known parameters: {', '.join(model.model_fields)}",
            context={"field": errors[0][0]},
        ) from None
