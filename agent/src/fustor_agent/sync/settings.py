"""
The dials of one sync: sizes, limits and waits. The defaults are the measured ones; tests turn them down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class SyncSettings:
    """
    How a sync behaves; everything has a default that fits production.

    Attributes:
        batch_rows: Most rows in one push, when the pusher's own `batch_size` is not set higher or left at its default.
        batch_bytes: A push is cut at about this many bytes (estimated from a few rows).
        live_in_flight: Live pushes under way at once, to a consumer with `ordering = "index"`.
        snapshot_in_flight: Snapshot pushes under way at once, to such a consumer; 1 while live pushes are under way.
        queue_events: Most live events the engine itself holds; the rest stays in the bus.
        queue_bytes: Most bytes of live events the engine holds.
        held_chunks: Most chunks read and not yet acknowledged.
        held_bytes: Most bytes in them.
        chunk_rows: Rows asked for in one chunk.
        reader_patience_s: A snapshot that can't be sent for so long lets go of its source, and goes on where it was. Doubles while it
            gets nowhere (a table without a key is begun anew each time), up to `reader_patience_most_s`.
        reader_patience_most_s: See there.
        touched_keys: Most keys remembered as touched while a snapshot runs; past it, chunks are read again.
        chunk_rereads: How often in a row a chunk whose watermark is too old is read again before the snapshot errs.
        watermark_timeout_s: A chunk that waits this long for the stream to pass its high watermark is named in the status.
        owed_rows: Most rows that the consumer is owed whole (see `owed`); with more, the stream waits.
        owed_bytes: Most bytes in them.
        owed_at_once: Rows that are read by their keys at once.
        owed_linger_s: Fewer wait so long for others.
        owed_pause_s: Least time between two readings of a whole table that replace those of single rows.
        checkpoint_interval_s: Least time between two saves of a checkpoint, and between two pushes that only carry one.
        backoff_first_s: First wait after a failure; doubles up to `retry_delay_sec` of the pusher, with full jitter.
        error_retry_s: Wait between two tries in state ERROR.
        supersede_limit: So many superseded sessions within `supersede_window_s` mean a second agent.
        supersede_window_s: See there.
        unknown_error_tries: A push that fails this often with an error that is no `FustorError` is taken for a bad batch.
        on_position_lost: Who decides about the snapshot after a gap: the consumer, or this sync at once, or nobody: stop.
        on_reject: Park what the consumer refuses for good, or stop the sync.
        push_timeout_s: A push without an answer for so long has failed with unknown outcome.
    """

    batch_rows: int = 2000
    batch_bytes: int = 1 << 20
    live_in_flight: int = 4
    snapshot_in_flight: int = 3
    queue_events: int = 20_000
    queue_bytes: int = 4 << 20
    held_chunks: int = 6
    held_bytes: int = 12 << 20
    chunk_rows: int = 2000
    reader_patience_s: float = 2.0
    reader_patience_most_s: float = 320.0
    touched_keys: int = 200_000
    chunk_rereads: int = 50
    watermark_timeout_s: float = 30.0
    owed_rows: int = 20_000
    owed_bytes: int = 8 << 20
    owed_at_once: int = 500
    owed_linger_s: float = 0.02
    owed_pause_s: float = 10.0
    checkpoint_interval_s: float = 0.5
    backoff_first_s: float = 0.2
    error_retry_s: float = 30.0
    supersede_limit: int = 5
    supersede_window_s: float = 60.0
    unknown_error_tries: int = 5
    on_position_lost: Literal["consumer", "snapshot", "stop"] = "consumer"
    on_reject: Literal["park", "stop"] = "park"
    push_timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class BusSettings:
    """
    Bounds of a bus.

    Attributes:
        ring_bytes: Most bytes in a reader's ring (estimated).
        ring_events: Most events in it; a source's `max_queue_size` wins when it is set higher.
        backlog_keys: Most keys a slow subscriber of a transient source keeps; past it the driver is told what to read again.
        dirty_scopes: Past so many scopes the whole table is marked dirty.
        error_retry_s: Wait after an error that waiting alone is not expected to cure.
        backoff_first_s: First wait after the stream broke; doubles up to `retry_delay_sec` of the source.
    """

    ring_bytes: int = 8 << 20
    ring_events: int = 20_000
    backlog_keys: int = 100_000
    dirty_scopes: int = 1_000
    backoff_first_s: float = 0.2
    error_retry_s: float = 30.0
