"""
Settings of the Fusion service: `FUSTOR_FUSION_<FIELD>`.
"""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from fustor_common.settings import ServiceSettings

MIB = 1024 * 1024


class FusionSettings(ServiceSettings):
    """
    What Fusion can be told.
    """

    model_config = SettingsConfigDict(env_prefix="FUSTOR_FUSION_")
    service: ClassVar[str] = "fusion"

    port: int = Field(8102, ge=0, le=65535, description="Port to listen on; 0 = any free one.")
    registry_url: str = Field(
        "http://127.0.0.1:8101", min_length=1, description="Address of the Registry, which knows the API keys."
    )
    registry_timeout_s: float = Field(3, gt=0, description="How long an answer of the Registry may take, seconds.")
    key_max_age_s: float = Field(
        7 * 86400,
        gt=0,
        description="How long a key that the Registry once confirmed goes on while the Registry can't be reached, seconds.",
    )
    max_body_bytes: int = Field(
        32 * MIB, ge=1024, description="Largest body of a push, before and after decompression, bytes."
    )
    queue_bytes: int = Field(
        24 * MIB,
        ge=1024,
        description="Bodies that may wait to be stored, bytes for each datastore; past that senders are told to wait.",
    )
    snapshot_slice_rows: int = Field(
        500,
        ge=1,
        description="Most rows of a snapshot that are applied before a live push gets its turn; fewer while there are some.",
    )
    group_rows: int = Field(10_000, ge=1, description="Most rows of snapshots in one transaction.")
    session_timeout_s: float = Field(
        30, gt=0, description="After how long without a heartbeat another agent may take a sync over, seconds."
    )
    tombstone_min_age_s: float = Field(
        60,
        ge=0,
        description="How long the checkpoint must be past a deleted row before the deletion is forgotten, seconds.",
    )
    live_queue: int = Field(
        2_000,
        ge=1,
        description="Changes that wait for one reader of the live tail; past that it is told how many it lost.",
    )
    live_keepalive_s: float = Field(15, gt=0, description="How often an idle live tail sends a comment, seconds.")
    rows_budget_s: float = Field(
        1,
        gt=0,
        description="How long one request for rows of a table looks for those that fit, seconds; past that it answers how far it came, with a cursor to go on.",
    )
