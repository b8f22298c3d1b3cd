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

from pydantic import BaseModel

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
    the snapshot, or rows by their keys. `close` is called last, from the event loop, after both iterators were stopped by their `stop_event`.
    The constructor does no I/O.

    Args:
        id: The id of the source in the agent's configuration.
        config: Its configuration.
    """

    title: ClassVar[str] = ""
    """
    What people call what it reads; "" = the name that configurations use.
    """

    params_model: ClassVar[type[BaseModel] | None] = None
    """
    The model of the driver's `driver_params`, where it has one: the agent then checks them with the rest of the configuration, and
    editors know them. The values may be references (`${NAME}`) at that time.
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

        An event without rows is a watermark: taken before the driver looked at which tables there are, it lets what is not there
        (an empty table, one that was dropped) be known to be gone. A driver that can tells one first, unless it goes on
        after a `resume_token`. Without any event, nothing is removed at the consumer.

        Keyword Args:
            stop_event (threading.Event): Once set, the iterator ends within a second.
            required_fields (Sequence[str]): Only these columns are wanted (keys are always sent).
            tables (Sequence[str]): Only these tables.
            where (str): Only rows of which this holds, in the source's own language.
            resume_token (str): Go on right after the chunk that carried it.
            batch_size (int): Most rows in a chunk.
            with_keyless (bool): Whether the consumer can have tables without a key; True when not given.

        A table without a key is read wholly at one exact index A: every change with an index <= A is visible in the read, every
        other is not. Its events carry A and `ordinal` (see `EventBase`), also one without rows at the table's end. Such a table
        can't be gone on with: a resume token in the midst of it begins it anew, at another A. Not read with `where`.

        Raises:
            ConnectionLost: The agent reopens the iterator at the last `resume_token`, as after any error.
            FustorError: One that concerns single tables names them in `context["tables"]`: `[{schema, table, reason, hint}]`. It
                is best raised when the others were read.
        """

    @abstractmethod
    def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> tuple[Iterator[EventBase], bool]:
        """
        Return an endless iterator over live changes, and whether the position asked for was lost.

        The call itself prepares the stream: when it returns, no change made from then on can be missed. The iterator
        blocks in the thread that walks it and ends within a second of `stop_event`. Changes with an index at or below
        `start_position` may come once more.

        What changes rows without telling them (TRUNCATE, ALTER TABLE, DROP, RENAME) does not end the stream: the iterator yields
        an `UntoldMark` for each table concerned and goes on.

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

    def read_rows(
        self, event_schema: str, table: str, key: Sequence[str], keys: Sequence[Sequence[Any]], **kwargs: Any
    ) -> Iterator[EventBase] | None:
        """
        Return an iterator over the rows with these keys that are there now; None = this driver, or this table, can't be read so.

        Asked when a sync's transforms need more of rows than an update told. Without an answer the whole table is read again, now and
        then. Called from a thread of its own, beside both iterators.

        The first event has no rows: its `index` is a low watermark not above that of the others. These are as in a snapshot, in any
        order; keys that are not there are left out.

        Args:
            event_schema: The schema of the table.
            table: The table.
            key: Names of the fields of its key, as its events have them; when its key is another one now, the answer is None.
            keys: For each row the values of these fields, as an event carried them. A few hundred at most.

        Keyword Args:
            stop_event (threading.Event): Once set, the iterator ends within a second.

        Raises:
            ConnectionLost: It is asked again after a wait.
        """
        return None

    def estimate_rows(self, tables: Sequence[str] | None = None) -> dict[str, int] | None:
        """
        Say about how many rows a snapshot will read, so that people see how far it is; None = this driver can't say.

        Asked once before a snapshot is read, from its thread. Must be quick: what the source has counted anyway, never a count of its rows.
        Whatever it raises is only logged.

        Args:
            tables: Only these: `table` or `schema.table`.

        Returns:
            About how many rows each table has, by `schema.table`. Of a table that nothing is known of there is nothing.
        """
        return None

    def whole_updates(self, event_schema: str, table: str) -> str | None:
        """
        Say what to do so that each update of a table brings all its fields: a sentence for people, what is to be run or set in backticks.

        Asked when somebody tries transforms that must read a row again where an update lacks fields. Called in a thread.

        Args:
            event_schema: The schema of the table.
            table: The table.

        Returns:
            The sentence; "" = every update does so already, None = this driver can't say.
        """
        return None

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

    @classmethod
    def position_text(cls, position: int) -> str:
        """
        Return a position as the source's own tools write it, for people; by default the number. Must be quick.
        """
        return str(position)

    @classmethod
    def bytes_between(cls, earlier: int, later: int) -> int | None:
        """
        Return how many bytes of the source's log lie between two positions; None = that can't be told from the positions alone.
        Must be quick.
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

    def tables_changed(self, before: SourceConfig) -> list[str] | None:
        """
        Tell of which tables this configuration gives other rows or columns than a former one did; the consumer is then offered a
        snapshot of these.

        Called in a thread, on an instance of its own that reads nothing else, when address or `driver_params` have changed, before
        the stream is opened where the former configuration has left it.

        Args:
            before: The former configuration, without its credential; secrets in it are `***`.

        Returns:
            `schema.table` of tables that are new, gone, or have other columns; None = it can't be told.

        Raises:
            ConnectionLost: It is asked again after a wait; until then nothing is sent.
        """
        return None

    def status(self) -> dict[str, Any]:
        """
        Return what a person should know of the source's state, as plain data: counts, parts that are not watched, ...

        The key `problems`, when there, is a list of `{"where", "what", "hint"}`; `keyless` one of `{"where", "hint"}`: the tables without a
        key, and what gives them one, for consumers that can't have such tables. Called from the event loop; must not block.
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
    async def get_available_tables(
        cls, *, uri: str, credential: Any = None, driver_params: dict[str, Any] | None = None
    ) -> list[dict[str, Any]] | None:
        """
        Return the tables that there are to choose from, of those that `driver_params` let through; None = the driver can't tell, and
        the wizard goes by `get_available_fields`.

        A driver that returns some takes globs of `schema.table` as `include` in its `driver_params`; one that also takes globs of
        `schema.table.column` as `exclude_columns` has its columns chosen, too.

        Returns:
            For each table `schema` and `table`; and, as far as known, `rows` (how many) with `is_exact` (False: an estimate),
            `columns` (how many), `key` (names of its fields), `problem` and `hint` (why it can't be read, and what mends that).
            Thousands of tables have to be told within seconds.
        """
        return None

    @classmethod
    async def test_connection(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Try to reach the source; return whether that went well and a sentence for the person. An `Outcome` says besides what to run, here
        and in the checks that follow.
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

    title: ClassVar[str] = ""
    """
    What people call what it feeds; "" = the name that configurations use.
    """

    params_model: ClassVar[type[BaseModel] | None] = None
    """
    As for a source.
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
            snapshot_tables (list[str]): Only in these tables (`schema.table`); not given = anywhere.
            snapshot_id (str): The snapshot the events belong to.
            epoch (int): Number of the source's incarnation; versions compare as (epoch, index).
            checkpoint (int): Everything up to this index is acknowledged: the place to go on from after a restart.
            seq (int): Number of the push within the session.

        Returns:
            At least `snapshot_needed` (bool). `snapshot_request` may narrow it: `{"tables": [...], "where": "..."}`. A snapshot that
            is narrowed by tables alone ends with `is_snapshot_end` too, and begins with one progress mark for each table; one
            with `where` never says that it is complete.

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
