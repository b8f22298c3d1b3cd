"""
One way for every driver to say what is wrong with its parameters.
"""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field

from fustor_core.errors import ConfigError
from fustor_core.params import read_params


class Params(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = Field(1, ge=1)
    name: str = ""


def test_what_fits_is_read() -> None:
    assert read_params(Params, {"size": 3}, "x") == Params(size=3)
    assert read_params(Params, None, "x") == Params()


def test_the_folder_that_the_agent_gives_to_every_source_is_no_mistake() -> None:
    class Keeping(Params):
        state_dir: str = ""

    assert read_params(Params, {"size": 3, "state_dir": "/a"}, "x") == Params(size=3)
    assert read_params(Keeping, {"state_dir": "/a"}, "x").state_dir == "/a"


def test_every_mistake_is_named_and_no_value_is_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        read_params(Params, {"size": 0, "nme": "hunter2"}, "fusion pusher 'p'")
    assert "fusion pusher 'p'" in caught.value.message
    assert "`driver_params.size`" in caught.value.message and "`driver_params.nme`" in caught.value.message
    assert "hunter2" not in str(caught.value)
    assert caught.value.hint == "known parameters: size, name"
    assert caught.value.context == {"field": "size"}
