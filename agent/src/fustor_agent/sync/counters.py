"""
What a sync did since the agent started.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Counters:
    """
    Counts, kept over several engines of one sync.

    Attributes:
        read_rows: Taken from the source, by stream and snapshots.
        pushed_rows, pushed_events: Acknowledged, as the source gave them.
        sent_rows, sent_bytes: What the transforms made of those (bytes estimated).
        completed_rows: Read from the source by their keys, because the stream told too little of them.
    """

    read_rows: int = 0
    sent_rows: int = 0
    sent_bytes: int = 0
    pushed_rows: int = 0
    pushed_events: int = 0
    snapshot_rows: int = 0
    dropped_rows: int = 0
    merged_rows: int = 0
    parked_rows: int = 0
    retries: int = 0
    rereads: int = 0
    completed_rows: int = 0
