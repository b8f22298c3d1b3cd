"""
`FsDriver`: a directory tree as a source.

Lifecycle: the tree (root checked, index opened and locked) is opened by the first iterator; the watches live as long as the message
stream; `close` ends both. Neighbours: `walk.py` (snapshot), `stream.py` (live), `tree.py` (what they share).
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from fustor_core.drivers import SourceDriver, config_root
from fustor_core.errors import ConfigError
from fustor_core.models.config import SourceConfig
from fustor_core.models.event import EventBase
from fustor_core.models.file_row import FILES_TABLE
from fustor_source_fs import setup
from fustor_source_fs.config import FsParams, load
from fustor_source_fs.position import time_text
from fustor_source_fs.stream import MessageStream
from fustor_source_fs.tree import Tree
from fustor_source_fs.walk import Walk

DEFAULT_CHUNK_ROWS = 3000


class FsDriver(SourceDriver):
    """
    Reads a directory tree: rows of `FILES_TABLE`, live through inotify.

    Positions are microseconds since the epoch that never go back, whatever the clock does. The message stream can be
    opened at any position that the journal still covers; what changed while nothing was watching is found by
    comparing the tree with the local index.

    Args:
        id: The id of the source.
        config: `uri` is an absolute path or `file:///path`; for `driver_params` see `FsParams`.
    """

    title = "Files and folders"
    params_model = FsParams

    def __init__(self, id: str, config: SourceConfig) -> None:  # noqa: A002 - the name is part of the contract
        super().__init__(id, config)
        self._lock = threading.Lock()
        self._tree: Tree | None = None
        self._stream: MessageStream | None = None
        self._closed = threading.Event()

    def _opened(self) -> Tree:
        with self._lock:
            if self._closed.is_set():
                raise ConfigError(f"the source {self.id!r} was closed", hint="make a new driver")
            if self._tree is None:
                root, params = load(self.config)
                self._tree = Tree(root, params, self.state_dir, config_root())
            return self._tree

    def get_snapshot_iterator(self, **kwargs: Any) -> Iterator[EventBase]:
        """
        Return an iterator over the rows there are, depth first, names sorted.

        `where` narrows the snapshot to a directory: its path relative to the root, escaped as in rows.

        Raises:
            ConfigError: The root or the state folder can't be used.
            ConnectionLost: The root is away.
        """
        tables = kwargs.get("tables")
        if tables and FILES_TABLE not in tables:
            return iter(())
        walk = Walk(
            self._opened(),
            self._stream,
            _AnyEvent(kwargs.get("stop_event"), self._closed),
            batch_size=kwargs.get("batch_size") or DEFAULT_CHUNK_ROWS,
            start=(kwargs.get("where") or "").strip("/"),
            token=kwargs.get("resume_token"),
            required=kwargs.get("required_fields"),
        )
        return walk.chunks()

    def get_message_iterator(self, start_position: int = -1, **kwargs: Any) -> tuple[Iterator[EventBase], bool]:
        """
        Place the watches and return the stream; see `SourceDriver.get_message_iterator`.

        On a tree too large to be watched within `arm_wait_s` the rest of the watches is placed while the stream runs: what
        changes there meanwhile is seen by the comparison with the index, or by the snapshot.

        A file that is being written is reported when it is closed, and each `open_report_s` while it stays open.

        Raises:
            ConfigError: The root or the state folder can't be used.
            ConnectionLost: The root is away.
        """
        tree = self._opened()
        try:
            return self._open_stream(tree, start_position, kwargs)
        except (sqlite3.Error, msgspec.DecodeError) as error:
            raise tree.index.mend(error) from error

    def _open_stream(self, tree: Tree, start_position: int, kwargs: dict[str, Any]) -> tuple[MessageStream, bool]:
        if self._stream is not None:
            self._stream.close()
            tree.check_root()
        available = start_position < 0 or self.is_position_available(start_position)
        if start_position < 0 or not available:
            tree.index.replay_from = None  # a snapshot brings all there is
        stream = MessageStream(
            tree,
            start_position if available else -1,
            _AnyEvent(kwargs.get("stop_event"), self._closed),
            kwargs.get("required_fields"),
        )
        self._stream = stream
        return stream, not available

    def high_watermark(self) -> int | None:
        """
        Take a high watermark by a cookie file: the kernel tells of it after all that happened before.

        What happened in directories that are polled, for want of watches, may come after it. It comes then as the
        present state with a larger index, so it still wins over a snapshot's row.
        """
        tree, stream = self._opened(), self._stream
        if stream is None or stream.stopped:
            return tree.clock.next()
        index = tree.clock.watermark()
        stream.watcher.ask_mark(index)
        return index

    @classmethod
    def position_text(cls, position: int) -> str:
        """
        Return the time that a position of this driver is.
        """
        return time_text(position)

    def is_position_available(self, position: int) -> bool:
        """
        Tell whether the journal covers what was sent after a position of this incarnation.
        """
        tree = self._opened()
        pending = tree.index.replay_from
        first = position if pending is None else min(position, pending)
        return tree.index.journal.floor <= first and position <= tree.clock.last

    def whole_updates(self, event_schema: str, table: str) -> str | None:
        """
        Every event of a file tells all of it.
        """
        return ""

    @property
    def is_transient(self) -> bool:
        """
        True: changes that are not read are only found again by comparing.
        """
        return True

    def mark_dirty(self, event_schema: str, table: str, scope: str) -> None:
        """
        Send again, as it is now, what was sent live of a directory and all below it.
        """
        if self._stream is not None and not self._stream.stopped:
            self._stream.mark_dirty(scope)

    def tables_changed(self, before: SourceConfig) -> list[str] | None:
        """
        Return none: what other patterns bring or take away, the stream finds when it compares the tree with what it has told.
        """
        return []

    def incarnation(self) -> str:
        """
        Return the id of the local index and of the directory it was begun for.

        It does not depend on the device number, which may be another one after a restart of the machine.
        """
        return self._opened().index.incarnation

    def status(self) -> dict[str, Any]:
        """
        Return what is watched, what is polled, what waits, what went wrong.
        """
        tree, stream = self._tree, self._stream
        if tree is None:
            return {"open": False, "problems": []}
        found: dict[str, Any] = {"open": True, "root": tree.root, "position": tree.clock.last}
        problems = tree.problems.all()
        if stream is not None:
            watcher = stream.watcher
            found.update(
                watched_dirs=watcher.watched,
                polled_dirs=len(watcher.polled),
                pending=len(stream.hints),
                events_read=watcher.events,
                overflows=watcher.overflows,
                let_go=stream.hints.let_go,
                rescans=stream.rescans,
                scanning=stream.scanning,
                sent_rows=stream.live.sent_rows,
            )
            problems = stream.problems() + problems
        found["problems"] = problems
        return found

    async def close(self) -> None:
        """
        End the iterators, join the thread that reads inotify and close the index. May be called twice.
        """
        self._closed.set()
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._lock:
            if self._stream is not None:
                self._stream.close()
            if self._tree is not None:
                self._tree.close()

    @classmethod
    async def get_available_fields(
        cls, *, uri: str, credential: Any = None, driver_params: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """
        Return the JSON Schema of a file's row.
        """
        return setup.available_fields()

    @classmethod
    async def test_connection(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Check that the root can be read and that the parameters make sense.
        """
        return await asyncio.to_thread(setup.check_tree, uri, driver_params)

    @classmethod
    async def check_privileges(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Check that the agent's user may read the root.
        """
        return await asyncio.to_thread(setup.check_tree, uri, driver_params)

    @classmethod
    async def check_runtime_params(
        cls, *, uri: str, credential: Any = None, admin_creds: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Check that inotify has room for the directories of the tree; says the `sysctl` line when it has not.
        """
        return await asyncio.to_thread(setup.check_limits, uri, driver_params)

    @classmethod
    async def get_wizard_steps(cls) -> dict[str, Any]:
        """
        Return the steps of the set-up wizard.
        """
        return setup.wizard_steps()


class _AnyEvent(threading.Event):
    """
    Set when either of two events is: the caller's, and the driver's own.
    """

    def __init__(self, given: threading.Event | None, own: threading.Event) -> None:
        super().__init__()
        self._given = given
        self._own = own

    def is_set(self) -> bool:
        return self._own.is_set() or (self._given is not None and self._given.is_set())
