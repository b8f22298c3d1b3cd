"""
The two base classes a driver derives from, written as the contract between a driver and the agent.

A driver is a package of its own, found by entry point (`fustor_core.plugins`). `agent/docs/driver_design.md` tells the
same contract at length; `fustor_core.testing` checks it.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from fustor_core.models.config import PusherConfig, SourceConfig
from fustor_core.models.event import EventBase


def config_root() -> Path:
    """
    Return the folder of configuration, state and logs: `FUSTOR_CONFIG_DIR`, by default `~/.fustor`.
    """
    return Path(os.environ.get("FUSTOR_CONFIG_DIR") or Path.home() / ".fustor")


class SourceDriver(ABC):
    """
    Reads one source: its live changes, and snapshots of what is there.

    Threads: the agent calls `get_message_iterator` and walks its iterator on one thread of its own (the bus), and
    `get_snapshot_iterator` on another; both run at the same time. `high_watermark` is called from the thread that walks
    the snapshot. `close` is called last, from the event loop, after both iterators were stopped by their `stop_event`.
    The constructor does no I/O.

    Args:
        id: The id of the source in the agent's configuration.
        config: Its configuration.
    """

    def __init__(self, id: str, config: SourceConfig) -> None:  # noqa: A002 - the name is part of the contract
        self.id = id
        self.config = config

    @property
    def state_dir(self) -> Path:
        """
        Where the driver may keep files of its own: `driver_params["state_dir"]`, else a folder below the config root.
        """
        given = self.config.driver_params.get("state_dir")
        return Path(given) if given else config_root() / "state" / "sources" / self.id

    @abstractmethod
    def get_snapshot_iterator(self, **kwargs: Any) -> Iterator[EventBase]:
        """
        Return a finite iterator over the rows that are there now, in chunks.

        One event is one chunk. Its `index` is the chunk's low watermark: every change that the read did not see appears
        in the message stream *after* it. Its `resume_token` names the point right after it.

        Keyword Args:
            stop_event (threading.Event): Once set, the iterator ends within a second.
            required_fields (Sequence[str]): Only these columns are wanted (keys are always sent).
            tables (Sequence[str]): Only these tables.
            where (str): Only rows of which this holds, in the source's own language.
            resume_token (str): Go on right after the chunk that carried it.
            batch_size (int): Most rows in a chunk.

        Raises:
            ConnectionLost: The agent reopens the iterator at the last `resume_token`.
        """

    @abstractmethod
    def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> tuple[Iterator[EventBase], bool]:
        """
        Return an endless iterator over live changes, and whether the position asked for was lost.

        The call itself prepares the stream: when it returns, no change made from then on can be missed. The iterator
        blocks in the thread that walks it and ends within a second of `stop_event`. Changes with an index at or below
        `start_position` may come once more.

        Args:
            start_position: Start right after this index; -1 = now.

        Keyword Args:
            stop_event (threading.Event): Once set, the iterator ends within a second.
            required_fields (Sequence[str]): Only these columns are wanted.

        Returns:
            The iterator and `needed_position_lost`: the driver could not start at `start_position`
            and has started at the newest one.

        Raises:
            ConnectionLost: The agent backs off and calls again with the last position it has seen.
        """

    def high_watermark(self) -> int | None:
        """
        Take a high watermark: an index H such that every change made before this call has an index <= H.

        The driver sees to it that the message iterator soon yields an event or a progress mark with an index >= H, also
        when the source is idle. Called after a chunk was read, from the snapshot's thread; must not block on the
        message iterator being read.

        Returns:
            H, or None when the driver can't tell. Then only a consumer that settles order by index converges while rows
            change during a snapshot.
        """
        return None

    @abstractmethod
    def is_position_available(self, position: int) -> bool:
        """
        Tell whether `get_message_iterator(position)` would start there and miss nothing.
        """

    def acknowledge(self, position: int) -> None:
        """
        Take note that nothing up to an index is needed any more: every consumer of this source has it, and it was saved.

        A driver whose source keeps its log for the reader lets go of it here. Called often, from the event loop; must not
        block for long. An agent that was killed may ask for a somewhat older position than the last one told here only if a
        sync was added or a consumer was set back; then `needed_position_lost` is right.

        Args:
            position: A safe checkpoint; never goes back within one opening of the stream.
        """

    @property
    def is_transient(self) -> bool:
        """
        Whether changes that are not read at once are gone (no log behind them).

        For a transient source an overflow coalesces by key, and past that calls `mark_dirty`; a durable one is slowed.
        """
        return False

    def mark_dirty(self, event_schema: str, table: str, scope: str) -> None:
        """
        Read part of a transient source anew: what the agent had to let go of there will be compared with the truth.

        Args:
            event_schema: The schema of the events that were let go.
            table: Their table.
            scope: What to read again, in the driver's own terms (a directory's path); "" = everything.
        """
        raise NotImplementedError(f"{type(self).__name__} is transient and does not implement mark_dirty")

    def incarnation(self) -> str:
        """
        Name the server or file system that positions belong to: positions compare only within one incarnation.

        Called from the bus thread, after `get_message_iterator` has returned. A new answer starts a new epoch.
        """
        return ""

    def status(self) -> dict[str, Any]:
        """
        Return what a person should know of the source's state, as plain data: counts, parts that are not watched, ...

        The key `problems`, when there, is a list of `{"where", "what", "hint"}`. Called from the event loop; must not block.
        """
        return {}

    async def close(self) -> None:
        """
        Let go of everything. May be called twice.
        """

    async def clean_up(self) -> None:
        """
        Remove what the driver has made at the source for itself (replication slots, publications).

        Called on an instance of its own when the source is deleted from the configuration, after everything that used it was
        closed. What is not there is no error.
        """

    # What the wizard and the API call, before any instance exists.

    @classmethod
    async def get_available_fields(
        cls, *, uri: str, credential: Any = None, driver_params: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """
        Return a JSON Schema whose `properties` are the fields the source has.
        """
        return {"type": "object", "properties": {}}

    @classmethod
    async def test_connection(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Try to reach the source; return whether that went well and a sentence for the person.
        """
        return True, "this driver has no connection to test"

    @classmethod
    async def check_privileges(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Check that the credential may do all that the driver needs.
        """
        return True, "this driver needs no privileges"

    @classmethod
    async def check_runtime_params(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Check that the source is set up the way the driver needs (log format, limits).
        """
        return True, "this driver needs no settings at the source"

    @classmethod
    async def create_agent_user(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Create the user the agent is to use, with just the rights it needs.
        """
        return False, "this driver has no users to create"

    @classmethod
    async def get_wizard_steps(cls) -> dict[str, Any]:
        """
        Return the steps of the set-up wizard: `{"steps": [{"step_id", "title", "schema", "validations"}]}`.
        """
        return {"steps": []}


class PusherDriver(ABC):
    """
    Sends events to one consumer. All methods run on the agent's event loop.

    `push` may be called again before an earlier call has returned only when `ordering` is "index"; otherwise the agent
    has several pushes under way only when no key is in two of them.

    Args:
        id: The id of the pusher in the agent's configuration.
        config: Its configuration.
    """

    ordering: ClassVar[Literal["index", "arrival"]] = "arrival"
    """
    How the consumer settles which change of a key is newer: by (epoch, index), or by arrival.
    """

    def __init__(self, id: str, config: PusherConfig) -> None:  # noqa: A002 - the name is part of the contract
        self.id = id
        self.config = config

    @abstractmethod
    async def push(self, events: Sequence[EventBase], **control: Any) -> dict[str, Any]:
        """
        Pack events and control values into one envelope, send it, and return what the consumer answered.

        Args:
            events: May be empty: the control values are what is said then.

        Keyword Args:
            agent_id (str), task_id (str), session_id (str): Who sends.
            source_type (str): "message" or "snapshot".
            is_snapshot_end (bool): The snapshot `snapshot_id` is complete with this push.
            snapshot_sync_suggested (bool): The stream has a gap; a snapshot would fill it.
            snapshot_id (str): The snapshot the events belong to.
            epoch (int): Number of the source's incarnation; versions compare as (epoch, index).
            checkpoint (int): Everything up to this index is acknowledged: the place to go on from after a restart.
            seq (int): Number of the push within the session.

        Returns:
            At least `snapshot_needed` (bool). `snapshot_request` may narrow it: `{"tables": [...], "where": "..."}`.

        Raises:
            ConnectionLost, ConsumerBusy: Sent again, the same, after a wait. The outcome of the first try is unknown.
            SessionSuperseded: A new session is opened and the push sent again in it.
            BatchRejected: Those events are parked as dead letters, the others sent again.
            AuthenticationFailed, PermissionMissing: The sync stops and says so.
        """

    @abstractmethod
    async def create_session(self, task_id: str, **kwargs: Any) -> dict[str, Any]:
        """
        Open a session for a sync.

        Keyword Args:
            agent_id (str): Which agent asks.

        Returns:
            `session_id`; may have `heartbeat_interval` (seconds), `epoch` (the newest the consumer has for this sync,
            -1 = none), `incarnation`, `snapshot_needed` and `snapshot_request`.
        """

    async def heartbeat(self, **kwargs: Any) -> dict[str, Any]:
        """
        Keep the session alive. Gets `session_id` and `task_id`; may answer `snapshot_needed` like `push`.
        """
        return {}

    async def close_session(self, **kwargs: Any) -> None:
        """
        End the session `session_id` in good order.
        """

    async def get_latest_committed_index(self, **kwargs: Any) -> int:
        """
        Return the checkpoint that the consumer holds for this session; -1 when it knows none.

        Gets `session_id` and `task_id`.
        """
        return -1

    async def close(self) -> None:
        """
        Let go of everything. May be called twice.
        """

    async def get_needed_fields(self, **kwargs: Any) -> dict[str, Any]:
        """
        Return a JSON Schema whose `properties` are the fields the consumer wants; empty = all.
        """
        return {}

    @classmethod
    async def test_connection(
        cls, *, endpoint: str, credential: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Try to reach the consumer with the credential; return whether that went well and a sentence for the person.
        """
        return True, "this driver has no connection to test"

    @classmethod
    async def get_wizard_steps(cls) -> dict[str, Any]:
        """
        Return the steps of the set-up wizard: `{"steps": [{"step_id", "title", "schema", "validations"}]}`.
        """
        return {"steps": []}
