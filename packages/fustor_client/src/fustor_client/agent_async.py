"""
The asynchronous client of the Agent: what runs, its configuration, drivers, log, dead letters and transforms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Unpack

import httpx

from fustor_client import agent_calls as calls
from fustor_client import agent_models as answers
from fustor_client import models
from fustor_client.agent_calls import Action, DriverKind, Kind
from fustor_client.agent_params import InstanceParams, LetterParams, LogParams, PreviewParams, TrialParams, headers_of
from fustor_client.base_async import AsyncBaseClient
from fustor_client.faults import error_from, unreachable
from fustor_client.log_stream import LogReader
from fustor_client.sse import IDLE_S
from fustor_core.errors import NotFoundError

__all__ = ["AsyncAgentClient", "Kind"]


class AsyncAgentClient(AsyncBaseClient):
    """
    Looks after one agent.

    Args:
        url: Address of the agent.
        token: The token of its API (`state/agent-token` of its config root).
        timeout_s: How long an answer may take, seconds.
        client: An httpx client to use instead of an own one; it is not closed.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout_s: float = 30.0, client: httpx.AsyncClient | None = None
    ) -> None:
        super().__init__(url, timeout_s=timeout_s, client=client)
        self._headers |= headers_of(token)

    # -- instances ---------------------------------------------------------------------------------------------------

    async def overview(self) -> answers.Overview:
        """
        Return how the agent is, in numbers, and whether changes of the configuration wait.
        """
        return await self._send(calls.overview())

    async def instances(self, **wanted: Unpack[InstanceParams]) -> models.Instances:
        """
        Return what the agent runs: everything, or the syncs that are wanted.
        """
        return await self._send(calls.instances(wanted))

    async def instance(self, sync: str) -> models.SyncState:
        """
        Return one sync.
        """
        return await self._send(calls.instance(sync))

    async def start(self, sync: str) -> models.SyncState:
        """
        Start a sync that was stopped or has given up; one that waits to try again does so at once.
        """
        return await self._send(calls.control(sync, "start"))

    async def stop(self, sync: str) -> models.SyncState:
        """
        Stop a sync until it is started again or the agent restarts.
        """
        return await self._send(calls.control(sync, "stop"))

    async def take_snapshot(
        self, sync: str, *, tables: Sequence[str] | None = None, where: str | None = None
    ) -> models.SyncState:
        """
        Start a snapshot; of everything, or only of some tables, or of rows of which `where` holds.
        """
        return await self._send(calls.take_snapshot(sync, tables, where))

    async def pause_snapshot(self, sync: str) -> models.SyncState:
        """
        Pause the snapshot under way.
        """
        return await self._send(calls.control(sync, "snapshot", "pause"))

    async def resume_snapshot(self, sync: str) -> models.SyncState:
        """
        Go on with a paused snapshot.
        """
        return await self._send(calls.control(sync, "snapshot", "resume"))

    async def cancel_snapshot(self, sync: str) -> models.SyncState:
        """
        Give up the snapshot under way.
        """
        return await self._send(calls.control(sync, "snapshot", "cancel"))

    # -- configuration -----------------------------------------------------------------------------------------------

    async def configuration(self) -> answers.Configuration:
        """
        Return the whole configuration, secrets masked, and what is wrong with it.

        To change what was read, and not what somebody else has made of it meanwhile, give its `revision` as `if_revision`:
        `PreconditionFailed` when it is another one by now.
        """
        return await self._send(calls.configuration())

    async def configs(self, kind: Kind) -> list[dict[str, Any]]:
        """
        Return all configurations of a kind, secrets masked.
        """
        return (await self._send(calls.configs(kind))).rows

    async def config(self, kind: Kind, config_id: str) -> dict[str, Any] | None:
        """
        Return one configuration with its secrets masked, None when there is none of this id.
        """
        try:
            return await self._send(calls.config(kind, config_id))
        except NotFoundError:
            return None

    async def create_config(
        self, kind: Kind, config_id: str, config: Mapping[str, Any], *, if_revision: int | None = None
    ) -> dict[str, Any]:
        """
        Create one configuration, and return it. It takes effect with `apply`, as all that follows.

        Raises:
            StateConflictError: There is one of this id.
            PreconditionFailed: The configuration is no longer at `if_revision`.
        """
        return await self._send(calls.create_config(kind, config_id, config, if_revision))

    async def put_config(
        self, kind: Kind, config_id: str, config: Mapping[str, Any], *, if_revision: int | None = None
    ) -> None:
        """
        Create or replace one configuration.

        Raises:
            PreconditionFailed: The configuration is no longer at `if_revision`.
        """
        await self._send(calls.put_config(kind, config_id, config, if_revision))

    async def delete_config(
        self, kind: Kind, config_id: str, *, with_dependants: bool = False, if_revision: int | None = None
    ) -> answers.EntryChange:
        """
        Remove one configuration; with the syncs that need it, or not at all when there are any.

        Raises:
            StateConflictError: Syncs need it; `context["dependants"]` has them.
            PreconditionFailed: The configuration is no longer at `if_revision`.
        """
        return await self._send(calls.delete_config(kind, config_id, with_dependants, if_revision))

    async def clone_config(
        self,
        kind: Kind,
        config_id: str,
        new_id: str,
        changes: Mapping[str, Any] | None = None,
        *,
        supersede: bool = False,
        if_revision: int | None = None,
    ) -> answers.EntryChange:
        """
        Add a copy with `changes` (None removes a key); with `supersede` it takes the place of the old one, which stays, disabled.

        Raises:
            PreconditionFailed: The configuration is no longer at `if_revision`.
        """
        return await self._send(calls.clone_config(kind, config_id, new_id, changes or {}, supersede, if_revision))

    async def enable_config(self, kind: Kind, config_id: str, *, if_revision: int | None = None) -> answers.EntryChange:
        """
        Enable one configuration.

        Raises:
            PreconditionFailed: The configuration is no longer at `if_revision`.
        """
        return await self._send(calls.switch_config(kind, config_id, "enable", if_revision))

    async def disable_config(
        self, kind: Kind, config_id: str, *, if_revision: int | None = None
    ) -> answers.EntryChange:
        """
        Disable one configuration.

        Raises:
            PreconditionFailed: The configuration is no longer at `if_revision`.
        """
        return await self._send(calls.switch_config(kind, config_id, "disable", if_revision))

    async def unused_configs(self, *, only: DriverKind | None = None) -> answers.UnusedEntries:
        """
        Return the sources and pushers that no sync uses; `only` those of one section.
        """
        return await self._send(calls.unused_configs(only))

    async def delete_unused_configs(
        self, *, only: DriverKind | None = None, if_revision: int | None = None
    ) -> answers.UnusedEntries:
        """
        Remove the sources and pushers that no sync uses, and return them; `only` those of one section.

        Raises:
            PreconditionFailed: The configuration is no longer at `if_revision`.
        """
        return await self._send(calls.delete_unused_configs(only, if_revision))

    async def apply(self) -> answers.AppliedConfiguration:
        """
        Make the running syncs follow the configuration.

        Raises:
            StateConflictError: The file has problems, and nothing was applied; `context["problems"]` has them.
        """
        return await self._send(calls.apply())

    async def config_schema(self) -> dict[str, Any]:
        """
        Return the JSON Schema of the configuration file, for editors.
        """
        return await self._send(calls.config_schema())

    async def revisions(self, *, limit: int = 100) -> list[answers.Revision]:
        """
        Return the newest revisions of the configuration, newest first, without their texts.
        """
        return (await self._send(calls.revisions(limit))).rows

    async def revision(self, number: int) -> answers.RevisionText:
        """
        Return one revision with its text, secrets masked.
        """
        return await self._send(calls.revision(number))

    async def difference(self, number: int, *, against: int | None = None) -> answers.RevisionDifference:
        """
        Return what a revision changed since the one before it, or since `against`.
        """
        return await self._send(calls.difference(number, against))

    async def roll_back(self, number: int, *, if_revision: int | None = None) -> answers.Configuration:
        """
        Write an older revision into the file, as a new one.

        Raises:
            PreconditionFailed: The configuration is no longer at `if_revision`.
        """
        return await self._send(calls.roll_back(number, if_revision))

    async def cleanups(self) -> list[answers.Cleanup]:
        """
        Return what is left to do at sources that were deleted.
        """
        return (await self._send(calls.cleanups())).rows

    async def retry_cleanup(self, number: int) -> answers.Cleanups:
        """
        Try once more to remove at a deleted source what its driver made there.
        """
        return await self._send(calls.retry_cleanup(number))

    async def forget_cleanup(self, number: int) -> None:
        """
        Leave at a deleted source what is there.
        """
        await self._send(calls.forget_cleanup(number))

    async def preview(
        self,
        transforms: Sequence[Mapping[str, Any]] = (),
        fields_mapping: Sequence[Mapping[str, Any]] = (),
        **options: Unpack[PreviewParams],
    ) -> answers.Preview:
        """
        Show what transforms would do to rows of a source, or to given ones.
        """
        return await self._send(calls.preview(transforms, fields_mapping, options))

    # -- drivers -----------------------------------------------------------------------------------------------------

    async def drivers(self) -> answers.Drivers:
        """
        Return every driver, usable or not.
        """
        return await self._send(calls.drivers())

    async def driver(self, kind: DriverKind, name: str) -> answers.DriverDetails:
        """
        Return one driver with the actions it knows.
        """
        return await self._send(calls.driver(kind, name))

    async def wizard(self, kind: DriverKind, name: str) -> answers.Wizard:
        """
        Return the steps to set up a source or pusher.
        """
        return await self._send(calls.wizard(kind, name))

    async def test_driver(self, kind: DriverKind, name: str, **trial: Unpack[TrialParams]) -> answers.Said:
        """
        Try a source or pusher that is not configured yet.
        """
        return await self._send(calls.test_driver(kind, name, trial))

    async def act(self, name: str, action: Action, **trial: Unpack[TrialParams]) -> answers.Said:
        """
        Run one action of a source's driver.
        """
        return await self._send(calls.act(name, action, trial))

    async def fields(
        self, kind: DriverKind, name: str, *, table: str | None = None, **trial: Unpack[TrialParams]
    ) -> answers.Fields:
        """
        Return the fields that a source has (of one `schema.table`, where given), or that a consumer wants.
        """
        return await self._send(calls.fields(kind, name, table, trial))

    async def tables(
        self, name: str, *, search: str = "", after: int = 0, limit: int = 100, **trial: Unpack[TrialParams]
    ) -> answers.Tables:
        """
        Return the tables of a source, with about how many rows they have.
        """
        return await self._send(calls.tables(name, search, after, limit, trial))

    async def rows(
        self, name: str, *, tables: Sequence[str] | None = None, rows: int = 10, **trial: Unpack[TrialParams]
    ) -> answers.SampledRows:
        """
        Return the first rows of some tables of a source, without it being configured.
        """
        return await self._send(calls.rows(name, tables, rows, trial))

    # -- the log -----------------------------------------------------------------------------------------------------

    async def logs(
        self, *, limit: int = 200, before: str | None = None, **wanted: Unpack[LogParams]
    ) -> answers.LogPage:
        """
        Return the newest lines of the log, or the newest before a place (`next` of the page before).
        """
        return await self._send(calls.logs(wanted, limit, before))

    async def follow_logs(self, **wanted: Unpack[LogParams]) -> AsyncIterator[answers.LogLine]:
        """
        Yield lines of the log as they are written, until the agent ends or the iterator is closed.

        Raises:
            ConnectionLost: The agent can't be reached, or is gone.
        """
        call = calls.follow_logs(wanted)
        url = self.url + call.target()
        reader = LogReader(url)
        headers = {**self._headers, **call.headers}
        timeout = httpx.Timeout(30.0, read=IDLE_S)
        try:
            async with self._client.stream("GET", url, headers=headers, timeout=timeout) as answer:
                if answer.status_code >= 300:
                    raise error_from(answer.status_code, answer.headers, await answer.aread(), url)
                async for text in answer.aiter_lines():
                    line = reader.feed(text)
                    if line is not None:
                        yield line
        except (httpx.RequestError, httpx.InvalidURL) as exc:
            raise unreachable(self.url, exc) from exc

    # -- dead letters ------------------------------------------------------------------------------------------------

    async def letters(self, *, after: int = 0, limit: int = 100, **wanted: Unpack[LetterParams]) -> answers.Letters:
        """
        Return dead letters, oldest first, without their rows.
        """
        return await self._send(calls.letters(wanted, after, limit))

    async def letter(self, letter_id: int) -> answers.Letter:
        """
        Return one dead letter with its event.
        """
        return await self._send(calls.letter(letter_id))

    async def replay(self, letter_id: int, *, force: bool = False) -> answers.Replayed:
        """
        Push one letter once more; `force` also where old rows may overwrite newer ones.
        """
        return await self._send(calls.replay(letter_id, force))

    async def replay_all(
        self, *, force: bool = False, limit: int = 100, **wanted: Unpack[LetterParams]
    ) -> answers.Replays:
        """
        Push letters of a sync once more, oldest first, until one is refused again.
        """
        return await self._send(calls.replay_all(wanted, force, limit))

    async def delete_letter(self, letter_id: int) -> None:
        """
        Delete one letter for good.
        """
        await self._send(calls.delete_letter(letter_id))

    async def delete_letters(self, **wanted: Unpack[LetterParams]) -> int:
        """
        Delete the letters of a sync for good (of one table or code); return how many.
        """
        return (await self._send(calls.delete_letters(wanted))).deleted
