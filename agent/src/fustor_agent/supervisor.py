"""
Starts and stops the syncs of the configuration. One failing sync never stops another.
"""

from __future__ import annotations

import asyncio
from typing import Any

from fustor_agent.managed_sync import ManagedSync, Parts
from fustor_agent.secret_values import mask
from fustor_agent.source_cleanup import SourceCleanup
from fustor_agent.sync.runtime import SyncRuntime
from fustor_agent.sync_filter import SyncFilter, with_fewer_tables
from fustor_common.logging import get_logger
from fustor_core.errors import NotFoundError, StateConflictError
from fustor_core.sync_health import HEALTHS

log = get_logger(__name__)


class Supervisor:
    """
    The syncs of one agent.

    Args:
        parts: What they share.
    """

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._syncs: dict[str, ManagedSync] = {}
        self.cleanup = SourceCleanup(parts.configs, parts.sources, parts.cleanups)
        self._changing = asyncio.Lock()
        self.applied_revision: int | None = None

    async def apply(self) -> dict[str, list[str]]:
        """
        Bring the running syncs in line with the configuration as it was read last.

        Starts what is new or enabled, stops what is gone or disabled, restarts what has changed, tries again what has failed.
        A sync that a person has stopped stays so until its configuration changes.

        A running sync that could not be built of its changed configuration (a variable that is not set, an address that a driver
        does not take) goes on with what it has, and says so.

        Returns:
            The ids: syncs `started`, `restarted`, `stopped`, `retried`, `kept`; sources `cleaned` (they are gone, and what their
            drivers had made there), and `left` (something of them may still be there: see `GET /api/configs/cleanups`).
        """
        done: dict[str, list[str]] = {"started": [], "restarted": [], "stopped": [], "retried": [], "kept": []}
        async with self._changing:
            wanted = self.parts.configs.current.entries["syncs"]
            stopping: list[asyncio.Task[None]] = []
            for id_ in [id_ for id_ in self._syncs if id_ not in wanted]:
                done["stopped"].append(id_)
                stopping.append(asyncio.create_task(self._syncs.pop(id_).stop()))
            restarting: list[ManagedSync] = []
            for id_ in wanted:
                sync = self._syncs.setdefault(id_, ManagedSync(id_, self.parts))
                why_not = sync.disabled_reason()
                if why_not:
                    if sync.wanted:
                        done["stopped"].append(id_)
                    stopping.append(asyncio.create_task(sync.stop(why_not, _ENABLE)))
                elif sync.outdated or sync.has_other_secrets:
                    sync.kept_for = None if sync.runtime is None else await sync.check()
                    if sync.kept_for is not None:
                        done["kept"].append(id_)
                        log.warning(
                            "a sync goes on with its old configuration",
                            sync=id_,
                            reason=sync.kept_for.message,
                            hint=sync.kept_for.hint,
                        )
                        continue
                    done["restarted"].append(id_)
                    restarting.append(sync)
                    stopping.append(asyncio.create_task(sync.stop()))
                elif sync.may_start:
                    done["started"].append(id_)
                    restarting.append(sync)
                elif sync.wanted and sync.runtime is None:
                    done["retried"].append(id_)
                    restarting.append(sync)
            await asyncio.gather(*stopping)
            done["cleaned"], done["left"] = await self.cleanup.run()
            for sync in restarting:
                sync.start()
            if self.parts.configs.is_file_in_force:
                self.applied_revision = self.parts.configs.revision or None
        return done

    def waiting(self) -> dict[str, list[str]]:
        """
        Return what `apply` would do: the ids of syncs to `start`, to `restart` and to `stop`, and of sources to `clean` up after.

        That a variable or file holds another secret now is not looked for here: it would be read each time.
        """
        wanted = self.parts.configs.current.entries["syncs"]
        waits: dict[str, list[str]] = {"start": [], "restart": [], "stop": []}
        waits["stop"] += [id_ for id_, sync in self._syncs.items() if id_ not in wanted and sync.wanted]
        for id_ in wanted:
            sync = self._syncs.get(id_) or ManagedSync(id_, self.parts)
            if sync.disabled_reason():
                if sync.wanted:
                    waits["stop"].append(id_)
            elif sync.outdated:
                waits["restart"].append(id_)
            elif sync.may_start:
                waits["start"].append(id_)
        return {**waits, "clean": self.cleanup.waiting()}

    async def start(self, sync_id: str) -> None:
        """
        Start a sync, or try again at once when it waits for that.

        Raises:
            NotFoundError: It is not in the configuration.
            StateConflictError: It is disabled there.
        """
        async with self._changing:
            sync = self._known(sync_id)
            why_not = sync.disabled_reason()
            if why_not:
                raise StateConflictError(why_not, hint=_ENABLE, context={"sync": sync_id})
            sync.start()

    async def stop(self, sync_id: str) -> None:
        """
        Stop a sync until it is started again or the agent restarts.

        Raises:
            NotFoundError: It is not in the configuration.
        """
        async with self._changing:
            await self._known(sync_id).stop(
                "stopped by a person",
                "start it again; `disabled: true` keeps it stopped over a restart of the agent",
                by_person=True,
            )

    async def stop_all(self) -> None:
        """
        Stop every sync, all at the same time.
        """
        await self.cleanup.close()
        async with self._changing:
            await asyncio.gather(*(sync.stop() for sync in self._syncs.values()))

    def runtime(self, sync_id: str) -> SyncRuntime:
        """
        Return the runtime of a sync that runs.

        Raises:
            NotFoundError: It is not in the configuration.
            StateConflictError: It does not run.
        """
        sync = self._known(sync_id)
        if sync.runtime is None:
            raise StateConflictError(f"sync {sync_id!r} does not run", hint="start it first", context={"sync": sync_id})
        return sync.runtime

    async def replay(self, letter_id: int, *, force: bool = False) -> dict[str, Any]:
        """
        Push a dead letter once more in the session of its sync, and delete it when the consumer has taken it.

        Args:
            letter_id: Its id.
            force: Also when the consumer goes by arrival, where the letter's rows overwrite newer ones.

        Raises:
            NotFoundError, StateConflictError: There is no such letter, or it can't be replayed now.
            FustorError: The consumer refuses it again, or can't be reached; the letter stays.
        """
        letter, event = self.parts.dead_letters.event(letter_id)
        runtime = self.runtime(letter.sync)
        pusher = self._syncs[letter.sync].pusher
        session_id = runtime.status().get("session_id")
        if pusher is None or not session_id:
            raise StateConflictError(
                f"sync {letter.sync!r} has no session now",
                hint="wait until it is connected, then replay again",
                context={"sync": letter.sync, "id": letter_id},
            )
        if pusher.ordering == "arrival" and not force:
            raise StateConflictError(
                f"the consumer of sync {letter.sync!r} goes by arrival: the old rows of this letter would overwrite newer ones",
                hint="take a snapshot of the table instead, or replay with `force=true` when nothing newer exists",
                context={"sync": letter.sync, "id": letter_id, "force": True},
            )
        events = runtime.outgoing(event)
        if not events:
            self.parts.dead_letters.delete(letter_id)
            return {"replayed": letter_id, "answer": {}}  # the transforms no longer let it pass
        answer = await pusher.push(
            events,
            agent_id=self.parts.agent_id,
            task_id=letter.sync,
            session_id=session_id,
            source_type="message",
            epoch=letter.epoch,
        )
        self.parts.dead_letters.delete(letter_id)
        return {"replayed": letter_id, "answer": answer}

    def _shown_bus(self, bus: dict[str, Any]) -> dict[str, Any]:
        # Its own address has the references resolved, and may so hold secrets.
        source = self.parts.configs.current.entries["sources"].get(str(bus.get("id")), {})
        return {**bus, "uri": mask(source.get("uri", ""))}

    def chosen(
        self, wanted: SyncFilter, *, offset: int = 0, limit: int | None = None, tables: int | None = None
    ) -> dict[str, Any]:
        """
        Return what `GET /api/instances` answers, of the syncs that are wanted.

        Args:
            wanted: Which syncs, and in which order.
            offset, limit: Which of those.
            tables: Most tables told of each; those with errors first.
        """
        self.parts.configs.refresh()
        found = wanted.of(self._syncs.values())
        part = found[offset : None if limit is None else offset + limit]
        return {
            "buses": [self._shown_bus(bus) for bus in self.parts.buses.status()],
            "syncs": [with_fewer_tables(sync.status(), tables) for sync in part],
            "total": len(found),
        }

    def status(self) -> dict[str, Any]:
        """
        Return all that `GET /api/instances` answers.
        """
        return self.chosen(SyncFilter())

    def healths(self) -> dict[str, list[str]]:
        """
        Return the ids of the syncs by how they are.
        """
        found: dict[str, list[str]] = {health: [] for health in HEALTHS}
        for id_, sync in self._syncs.items():
            found[sync.health].append(id_)
        return found

    def sync_statuses(self) -> list[dict[str, Any]]:
        """
        Return the status of every sync, in the order of the configuration.
        """
        return [sync.status() for sync in self._syncs.values()]

    def sync_status(self, sync_id: str) -> dict[str, Any]:
        """
        Return the status of one sync.

        Raises:
            NotFoundError: It is not in the configuration.
        """
        self.parts.configs.refresh()
        return self._known(sync_id).status()

    def _known(self, sync_id: str) -> ManagedSync:
        if sync_id not in self._syncs:
            known = ", ".join(self._syncs) or "none"
            raise NotFoundError(
                f"there is no sync {sync_id!r}",
                hint=f"known syncs: {known}; a new one runs after `POST /api/configs/apply`",
                context={"sync": sync_id},
            )
        return self._syncs[sync_id]


_ENABLE = "set `disabled: false` there (sources and pushers are disabled unless it is said), then apply"
