"""
Settings of the agent service, read from the environment: `FUSTOR_AGENT_<FIELD>`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from fustor_common.agent_token import LEAST_CHARACTERS
from fustor_common.settings import ServiceSettings


class AgentSettings(ServiceSettings):
    """
    What the agent can be told beside its configuration file.
    """

    model_config = SettingsConfigDict(env_prefix="FUSTOR_AGENT_")

    service: ClassVar[str] = "agent"

    port: int = Field(8100, ge=0, le=65535, description="Port to listen on; 0 = any free one.")
    close_timeout_s: float = Field(9, gt=0, description="How long a stop waits for all syncs to end, seconds.")
    drain_timeout_s: float = Field(0.5, gt=0, description="How long a stop waits for open requests, seconds.")
    stop_timeout_s: float = Field(7, gt=0, description="How long a stop lets pushes under way finish, seconds.")
    api_token: SecretStr | None = Field(
        None,
        min_length=LEAST_CHARACTERS,
        description="What `/api` wants as `Authorization: Bearer <token>`; by default a token that the agent makes when it first "
        "starts, in `state/agent-token` of the config root.",
    )
    registry_url: str | None = Field(
        None, min_length=1, description="Address of the Registry that this agent tells of itself; none by default."
    )
    registry_key_file: Path | None = Field(
        None, description="File with the API key that it comes with there, of the scope `ingest`."
    )
    dead_letter_rows: int = Field(
        1_000_000, ge=1, description="Most rows kept as dead letters; past it syncs stop instead of dropping any."
    )
    on_reject: Literal["park", "stop"] = Field(
        "park", description="What a sync does with events that its consumer refuses for good: park them, or stop."
    )
    on_position_lost: Literal["consumer", "snapshot", "stop"] = Field(
        "consumer",
        description="What a sync does when its position is gone: leave the snapshot to the consumer, start it, or stop.",
    )
    switch_interval_s: float = Field(
        0.001, gt=0, le=1, description="How long a thread keeps the interpreter before another may have it, seconds."
    )
    watch_interval_s: float = Field(
        1, gt=0, description="How often the supervisor looks whether a sync still runs, seconds."
    )
    restart_first_s: float = Field(
        0.5, gt=0, description="First wait before a sync that failed is started again, seconds."
    )
    restart_most_s: float = Field(60, gt=0, description="Longest such wait; the wait doubles each time, seconds.")
