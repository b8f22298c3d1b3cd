"""
What drivers have made at a source for themselves (replication slots, publications) goes when the source is deleted: left behind
it would keep the source's log growing.

It is done when the deletion is applied, whether its syncs ran or not, also when the source was deleted while the agent was
stopped. While the source is away it is tried again, and says what is left to do.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from typing import Any

from fustor_agent.cleanups import Cleanup, Cleanups, Entry
from fustor_agent.configs import Configs
from fustor_agent.secret_values import mask, resolve
from fustor_common.logging import get_logger
from fustor_core.drivers import SourceDriver
from fustor_core.errors import FustorError
from fustor_core.models.config import SourceConfig
from fustor_core.plugins import Catalog

log = get_logger(__name__)

_LONGEST_S = 20.0
_FIRST_WAIT_S = 30.0
_MOST_WAIT_S = 3600.0
_GUIDE = "look at the source: the driver's guide says what it makes there, and how to remove it"
_CONFIRM = "`POST /api/configs/cleanups/<id>/retry` removes it there; `DELETE /api/configs/cleanups/<id>` leaves it"


class SourceCleanup:
    """
    Cleans up after the sources that are gone since the configuration was applied last.

    Args:
        configs: The configuration.
        drivers: The source drivers.
        store: What is left to do.
    """

    def __init__(self, configs: Configs, drivers: Catalog[SourceDriver], store: Cleanups) -> None:
        self._configs = configs
        self._drivers = drivers
        self._store = store
        self._cleaning = asyncio.Lock()
        self._later: asyncio.Task[None] | None = None

    async def run(self) -> tuple[list[str], list[str]]:
        """
        Clean up; return the ids of the sources of which nothing is left, and of those of which something may be.

        A failure is told and tried again later: the sources are gone from the configuration all the same.
        """
        if self._configs.current.problems or not self._configs.current.text:
            return [], []  # what is not there may only be misspelt, or the file not there yet
        async with self._cleaning:
            sources = self._configs.current.entries["sources"]
            left: dict[str, tuple[Entry, bool, str, str]] = {}
            for id_, entry in self._store.applied().items():
                verdict = self._verdict(id_, entry, sources)
                if verdict is not None:
                    left[id_] = (entry, *verdict)
            self._store.apply(sources, left)
            done = await self._clean_pending()
        pending = self._store.pending()
        if any(not cleanup.asks for cleanup in pending):
            self._try_later()
        return done, [cleanup.source_id for cleanup in pending]

    def waiting(self) -> list[str]:
        """
        Return the ids of sources that are gone since the configuration was applied, and that their drivers may have left something at.
        """
        if self._configs.current.problems or not self._configs.current.text:
            return []
        sources = self._configs.current.entries["sources"]
        return [id_ for id_, entry in self._store.applied().items() if self._verdict(id_, entry, sources) is not None]

    def _verdict(self, id_: str, entry: Entry, sources: dict[str, Entry]) -> tuple[bool, str, str] | None:
        """
        Tell whether something may be left of a source as it was: whether a person has to be asked, why, and what to do.
        """
        if not self._makes_something(entry):
            return None
        now = sources.get(id_)
        if now is not None:
            if _address(now) == _address(entry):
                return None
            return (
                True,
                f"source {id_!r} has another address now; what its driver made at the old one is there",
                _CONFIRM,
            )
        params = entry.get("driver_params")
        for other, present in sources.items():
            if params and _address(present) == _address(entry) and present.get("driver_params") == params:
                return (
                    True,
                    f"source {other!r} reads there with the same parameters, and may use what is there",
                    _CONFIRM,
                )
        return False, "", ""

    def _makes_something(self, entry: Entry) -> bool:
        try:
            driver = self._drivers.get(str(entry.get("driver")))
        except FustorError:
            return True  # not installed any more: then it can't be told
        return driver.clean_up is not SourceDriver.clean_up

    async def _clean_pending(self) -> list[str]:
        sources = self._configs.current.entries["sources"]
        ready: list[Cleanup] = []
        for cleanup in self._store.pending():
            present = sources.get(cleanup.source_id)
            if present is not None and _address(present) == _address(cleanup.entry):
                self._store.done(cleanup.id)  # it is back, and uses what is there
            elif not cleanup.asks:
                ready.append(cleanup)
        outcomes = await asyncio.gather(*(self._clean(cleanup) for cleanup in ready))
        return [cleanup.source_id for cleanup, is_done in zip(ready, outcomes, strict=True) if is_done]

    async def _clean(self, cleanup: Cleanup) -> bool:
        about = {"source": cleanup.source_id, "uri": mask(cleanup.entry.get("uri"), name="uri")}
        try:
            config = SourceConfig.model_validate(resolve(cleanup.entry))
            with contextlib.ExitStack() as stack:
                if cleanup.source_id in self._configs.current.entries["sources"]:
                    # The folder of that id belongs to the source that has it now.
                    config.driver_params["state_dir"] = stack.enter_context(tempfile.TemporaryDirectory())
                driver = self._drivers.get(config.driver)(cleanup.source_id, config)
                async with asyncio.timeout(_LONGEST_S):
                    await driver.clean_up()
        except Exception as exc:  # noqa: BLE001 - a driver may raise anything, and the source is gone all the same
            reason, hint = _told(exc)
            self._store.failed(cleanup.id, reason, hint)
            log.warning(
                "what the driver made at a source that was deleted could not be removed",
                reason=reason,
                hint=hint,
                **about,
            )
            return False
        self._store.done(cleanup.id)
        log.info("cleaned up after a source that was deleted", **about)
        return True

    def pending(self) -> list[dict[str, Any]]:
        """
        Return what is left to do, as `GET /api/configs/cleanups` shows it.
        """
        return [
            {
                "id": cleanup.id,
                "source": cleanup.source_id,
                "driver": cleanup.entry.get("driver"),
                "uri": mask(cleanup.entry.get("uri"), name="uri"),
                "since": cleanup.ts,
                "tries": cleanup.tries,
                "asks": cleanup.asks,
                "reason": cleanup.reason,
                "hint": cleanup.hint,
            }
            for cleanup in self._store.pending()
        ]

    async def retry(self, cleanup_id: int) -> bool:
        """
        Try one now, because a person says so; return whether nothing is left.

        Raises:
            NotFoundError: There is no such clean-up.
        """
        async with self._cleaning:
            return await self._clean(self._store.get(cleanup_id))

    async def forget(self, cleanup_id: int) -> None:
        """
        Leave at the source what is there.

        Raises:
            NotFoundError: There is no such clean-up.
        """
        async with self._cleaning:
            self._store.done(self._store.get(cleanup_id).id)

    def _try_later(self) -> None:
        if self._later is None or self._later.done():
            self._later = asyncio.create_task(self._keep_trying(), name="source clean-up")

    async def _keep_trying(self) -> None:
        wait = _FIRST_WAIT_S
        while any(not cleanup.asks for cleanup in self._store.pending()):
            await asyncio.sleep(wait)
            wait = min(wait * 2, _MOST_WAIT_S)
            async with self._cleaning:
                await self._clean_pending()

    async def close(self) -> None:
        """
        Try no more; what is left is remembered.
        """
        later, self._later = self._later, None
        if later is not None:
            later.cancel()
            await asyncio.wait((later,))


def _address(entry: Entry) -> tuple[Any, Any]:
    return entry.get("driver"), entry.get("uri")


def _told(exc: Exception) -> tuple[str, str]:
    if isinstance(exc, TimeoutError):
        return f"the source has not answered within {_LONGEST_S:g} s", _GUIDE
    if isinstance(exc, FustorError):
        return exc.message, exc.hint or _GUIDE
    # Not the text of another library's error: it may show what it was called with.
    return f"the driver failed: {type(exc).__name__}", _GUIDE
