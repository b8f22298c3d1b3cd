"""
What every request body of the agent's API has to keep to: no key that is not known, and no value that can't be shown or kept.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

from fustor_agent.plain_values import unfit


def _fit(given: Any) -> Any:
    for finding in unfit(given):
        where = f"`{'.'.join(finding.place)}`: " if finding.place else ""
        raise ValueError(f"{where}{finding.message} ({finding.hint})")
    return given


class RequestBody(BaseModel):
    """
    The base of what requests send.
    """

    model_config = ConfigDict(extra="forbid")

    _only_what_fits = model_validator(mode="before")(_fit)


Keys = Annotated[dict[str, Any], BeforeValidator(_fit)]
"""
A body that is an entry of the configuration itself, whose keys its model checks.
"""
