"""
One datastore inside Fusion: its store, applier, syncs, sessions, views and live tail; and all of them by id.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from fustor_common.logging import get_logger
from fustor_core.errors import InvalidRequest
from fustor_core.models.envelope import Envelope, PushAnswer, WireEvent
from fustor_core.plugins import VIEWS, Catalog
from fustor_fusion.applier import Applier, Command
from fustor_fusion.flow import Flow
from fustor_fusion.keys import Policy
from fustor_fusion.live import LiveHub
from fustor_fusion.metrics import FusionMetrics
from fustor_fusion.pushes import Push
from fustor_fusion.quota import Quota, Usage
from fustor_fusion.retention import Retention
from fustor_fusion.sessions import Session, Sessions
from fustor_fusion.settings import FusionSettings
from fustor_fusion.snapshots import SyncBook, SyncState
from fustor_fusion.store.sqlite import SqliteStore
from fustor_fusion.sweep import GarbageCollector
from fustor_fusion.views.base import View

log = get_logger(__name__)

CATCH_ALL: Final = "tables"
HOUSEKEEPING_S: Final = 10.0
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Datastore:
    """
    One datastore. The constructor opens (or creates) its file, which takes a moment.

    Args:
        datastore_id: Whose rows these are.
        folder: Where the files are.
        settings: Settings of the service.
        catalog: The installed views.
        metrics: Metrics of the service.
        clock: Monotonic seconds.

    Raises:
        ConfigError: The store's schema can't be brought up to date.
        sqlite3.Error: The store can't be opened.
    """

    def __init__(
        self,
        datastore_id: str,
        folder: Path,
        settings: FusionSettings,
        catalog: Catalog[View],
        metrics: FusionMetrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.datastore_id = datastore_id
        self.metrics = metrics
        self._settings = settings
        self.store = SqliteStore(datastore_id, folder / f"{datastore_id}.db")
        self.syncs = SyncBook()
        self.sessions = Sessions(settings.session_timeout_s, clock)
        self.quota = Quota(self._measure)
        self._policy = Policy()
        self._kept_policy: Policy | None = self._policy
        self.live = LiveHub(settings.live_queue)
        self.flow = Flow(clock)
        self.view_errors: dict[str, str] = {p.name: p.error for p in catalog.list() if p.error is not None}
        self.views = self._create_views(catalog)
        self._by_table: dict[tuple[str, str], View] = {}
        self._garbage = GarbageCollector(settings.tombstone_min_age_s)
        self._next_housekeeping = time.monotonic() + HOUSEKEEPING_S
        self.retention = Retention(
            datastore_id,
            self.syncs,
            self.sessions,
            self.views,
            slice_rows=lambda: self.applier.slice_rows(settings.snapshot_slice_rows),
            removed=metrics.removed.inc,
            clock=clock,
        )
        self._load(self.store.writer)
        self.flow.load(self.store.writer)
        self._note_views(self.store.writer)
        self._load_policy(self.store.writer)
        self.applier = Applier(
            self.store,
            metrics,
            queue_bytes=settings.queue_bytes,
            group_rows=settings.group_rows,
            reset=self._reset,
            chores=self._chores,
            idle=self._idle,
        )
        self.applier.start()

    def _create_views(self, catalog: Catalog[View]) -> list[View]:
        views: list[View] = []
        # What takes every table comes last.
        for plugin in sorted(catalog.list(), key=lambda p: (p.name == CATCH_ALL, p.name)):
            if plugin.error is not None:
                continue
            try:
                view = catalog.get(plugin.name)(self.store)
                view.create(self.store.writer)
            except Exception as exc:
                if self.store.writer.in_transaction:
                    self.store.writer.execute("ROLLBACK")
                self.view_errors[plugin.name] = f"{type(exc).__name__}: {exc}"
                log.error("a view can't be used", view=plugin.name, datastore=self.datastore_id, exc_info=exc)
            else:
                views.append(view)
        return views

    def _note_views(self, conn: sqlite3.Connection) -> None:
        """
        Ask for a snapshot when other views are usable than before: a table may belong to another one now.
        """
        now = msgspec.json.encode(sorted(v.name for v in self.views)).decode()
        row = conn.execute("SELECT value FROM meta WHERE name = 'views'").fetchone()
        if row is not None and row[0] == now:
            return
        conn.execute("BEGIN IMMEDIATE")
        if row is not None:
            for sync in self.syncs.all():
                sync.suggest("", None)
                self.syncs.save(conn, sync, sync.active)
        conn.execute("INSERT OR REPLACE INTO meta(name, value) VALUES ('views', ?)", (now,))
        conn.execute("COMMIT")

    def _load(self, conn: sqlite3.Connection) -> None:
        self.syncs.load(conn)
        self.sessions.load(conn)

    def _reset(self, conn: sqlite3.Connection) -> None:
        for view in self.views:
            view.rolled_back()
        self.retention.rolled_back()
        self.flow.rolled_back()
        self._load(conn)
        self._kept_policy = None

    def _chores(self, conn: sqlite3.Connection) -> int:
        now = time.monotonic()
        if now >= self._next_housekeeping:
            self._next_housekeeping = now + HOUSEKEEPING_S
            self.sessions.save_seen(conn)
            self.sessions.forget_ended(conn)
            self.flow.save(conn)
            for sync in self.syncs.all():
                if sync.removed_at is not None:
                    self.flow.forget(conn, sync.task_id)
        self._keep_policy(conn)
        # What a view holds that can't be used now can't be let go of: it would be there again one day.
        return 0 if self.view_errors else self.retention.step(conn)

    def _idle(self, conn: sqlite3.Connection) -> bool:
        return self._garbage.step(conn, self.views, self.syncs)

    def follow(self, policy: Policy) -> None:
        """
        Go by a policy from now on. Sessions that are open stay open.
        """
        if policy == self._policy:
            return
        self._policy = policy
        self.sessions.timeout_s = policy.session_timeout_s or self._settings.session_timeout_s
        self.sessions.one_at_a_time = not policy.allow_concurrent_sessions
        self.quota.limit(policy.max_rows, policy.max_bytes)
        self.retention.keep_days = policy.retention_days

    def _load_policy(self, conn: sqlite3.Connection) -> None:
        """
        Go by what the Registry said last. It is kept here too: a datastore that nobody feeds is not asked for either, so that no key
        would bring its policy.
        """
        row = conn.execute("SELECT value FROM meta WHERE name = 'policy'").fetchone()
        if row is not None:
            self._kept_policy = msgspec.json.decode(row[0], type=Policy)
            self.follow(self._kept_policy)

    def _keep_policy(self, conn: sqlite3.Connection) -> None:
        policy = self._policy
        if policy != self._kept_policy:
            text = msgspec.json.encode(policy).decode()
            conn.execute("INSERT OR REPLACE INTO meta(name, value) VALUES ('policy', ?)", (text,))
            self._kept_policy = policy

    def _measure(self, count_rows: bool) -> Usage:
        rows = sum(table["rows"] for table in self.list_tables()) if count_rows else None
        return Usage(rows, self.store.used_bytes())

    def view_of(self, event: WireEvent) -> View:
        """
        Return the view that an event's table belongs to.

        Raises:
            InvalidRequest: No usable view takes it.
        """
        name = (event.event_schema, event.table)
        view = self._by_table.get(name)
        if view is None:
            view = next((v for v in self.views if v.claims(event)), None)
            if view is None:
                raise InvalidRequest(
                    f"no view of Fusion takes the table {event.table!r} of schema {event.event_schema!r}",
                    hint="install a view for it, or mend the `tables` view; GET /health/ready says what is broken",
                )
            self._by_table[name] = view
        return view

    def view(self, name: str) -> View | None:
        """
        Return a view by name; None when it is not installed or broken.
        """
        return next((v for v in self.views if v.name == name), None)

    # What requests do. Event loop only.

    async def push(self, envelope: Envelope, size: int) -> PushAnswer:
        """
        Store an envelope whose `size` bytes were reserved; on disk when it returns.

        Raises:
            FustorError: It was not stored; see `fustor_fusion.pushes`.
        """
        most = self._settings.snapshot_slice_rows
        push = Push(self, envelope, size, lambda: self.applier.slice_rows(most))
        try:
            future = self.applier.submit(push, slow=push.is_snapshot)
        except BaseException:
            self.applier.release(size)
            raise
        answer: PushAnswer = await future
        return answer

    async def open_session(self, task_id: str, agent_id: str | None, client: str) -> tuple[Session, SyncState]:
        """
        Open a session; on disk when it returns.

        Raises:
            SessionConflict: Another agent holds the sync.
        """

        def run(conn: sqlite3.Connection) -> tuple[Session, SyncState]:
            session = self.sessions.open(conn, task_id, agent_id, client)
            state = self.syncs.get(task_id)
            state.fed(agent_id)
            self.syncs.save(conn, state)
            return session, state

        opened: tuple[Session, SyncState] = await self.applier.submit(Command(run))
        return opened

    async def close_session(self, session_id: str) -> None:
        """
        End a session; on disk when it returns.

        Raises:
            NotFoundError, SessionSuperseded: There is no such live session.
        """
        await self.applier.submit(Command(lambda conn: self.sessions.close(conn, session_id)))

    # What other threads do.

    def checkpoint(self, session_id: str) -> int:
        """
        Return the checkpoint on disk of a session's sync; -1 = none.
        """
        task_id = self.sessions.need(session_id).task_id
        with self.store.read() as conn:
            row = conn.execute("SELECT checkpoint FROM sync WHERE task_id = ?", (task_id,)).fetchone()
        return -1 if row is None else int(row[0])

    def list_tables(self) -> list[dict[str, Any]]:
        """
        Describe the tables of all views.
        """
        with self.store.read() as conn:
            return [table for view in self.views for table in view.list_tables(conn)]

    def list_syncs(self) -> list[dict[str, Any]]:
        """
        Describe the syncs, in the shape of `GET /ingestor-api/v1/syncs/`.
        """
        rows: dict[str, int] = {}
        for table in self.list_tables():
            rows[table["task_id"]] = rows.get(table["task_id"], 0) + table["rows"]
        return [
            {
                **state.to_dict(),
                "connected": self.sessions.is_fed(state.task_id),
                "rows": rows.get(state.task_id, 0),
                "kept_until": self.retention.kept_until(state),
            }
            for state in self.syncs.all()
        ]

    def problem(self) -> str | None:
        """
        Return what is wrong with this datastore; None = nothing.
        """
        if self.applier.failure is not None:
            return self.applier.failure
        if self.view_errors:
            return "; ".join(f"view {name!r}: {error}" for name, error in sorted(self.view_errors.items()))
        return None

    def close(self) -> None:
        """
        Store what is queued and close everything. Blocks.
        """
        self.applier.close()
        self._save_flow()
        for view in self.views:
            view.close()
        self.store.close()

    def _save_flow(self) -> None:
        conn = self.store.writer
        try:
            conn.execute("BEGIN IMMEDIATE")
            self.flow.save(conn)
            conn.execute("COMMIT")
        except sqlite3.Error as exc:
            log.warning("when tables last changed could not be written", datastore=self.datastore_id, error=str(exc))


class Datastores:
    """
    The datastores of this service, opened when first needed.

    Args:
        settings: Settings of the service.
        metrics: Metrics of the service.
        catalog: The views to use instead of the installed ones, for tests.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        settings: FusionSettings,
        metrics: FusionMetrics,
        catalog: Catalog[View] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder = settings.config_dir / "fusion"
        self.catalog: Catalog[View] = Catalog(VIEWS, View) if catalog is None else catalog
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._open: dict[str, Datastore] = {}
        self._lock = threading.Lock()
        self._closed = False
        for plugin in self.catalog.list():
            if plugin.error is not None:
                log.error(
                    "a view could not be loaded", view=plugin.name, package=plugin.distribution, error=plugin.error
                )

    def opened(self) -> list[Datastore]:
        """
        Return the open datastores.
        """
        return list(self._open.values())

    def open_existing(self) -> None:
        """
        Open every datastore that has a file. Blocks.
        """
        for path in sorted(self.folder.glob("*.db")):
            if path.stem == "keys" or not _ID.fullmatch(path.stem):
                continue
            self._get(path.stem)

    async def get(self, datastore_id: str) -> Datastore:
        """
        Return a datastore, opening it when needed.

        Raises:
            ConfigError: Its store can't be brought up to date.
            sqlite3.Error: Its store can't be opened.
            InvalidRequest: The id can't name a file.
        """
        found = self._open.get(datastore_id)
        if found is not None:
            return found
        if not _ID.fullmatch(datastore_id) or datastore_id == "keys":
            raise InvalidRequest(f"the Registry named a datastore {datastore_id!r}, which can't be the name of a file")
        return await asyncio.to_thread(self._get, datastore_id)

    def _get(self, datastore_id: str) -> Datastore:
        with self._lock:
            if self._closed:
                raise RuntimeError("the datastores are closed")
            found = self._open.get(datastore_id)
            if found is None:
                found = Datastore(datastore_id, self.folder, self._settings, self.catalog, self._metrics, self._clock)
                self._open[datastore_id] = found
            return found

    def close(self) -> None:
        """
        Store what is queued and close everything. Blocks. May be called twice.
        """
        with self._lock:
            self._closed = True
            opened, self._open = self.opened(), {}
        threads = [threading.Thread(target=d.close, name=f"fusion-close-{d.datastore_id}") for d in opened]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
