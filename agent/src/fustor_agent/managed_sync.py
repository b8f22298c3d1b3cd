"""
One sync of the configuration: builds what it needs, starts it, starts it again when that fails, and takes it apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from fustor_agent.bus import BusPool, EventBus
from fustor_agent.cleanups import Cleanups
from fustor_agent.config_file import NEEDS, AgentConfig, Section
from fustor_agent.configs import Configs
from fustor_agent.deadletters import DeadLetters
from fustor_agent.metered import MeteredPusher, PushMetrics
from fustor_agent.secret_values import mask, resolve
from fustor_agent.settings import AgentSettings
from fustor_agent.state import StateStore
from fustor_agent.sync.ports import Origin
from fustor_agent.sync.runtime import SyncRuntime
from fustor_common.logging import get_logger, request_id
from fustor_core.drivers import PusherDriver, SourceDriver
from fustor_core.errors import ConfigError, FustorError
from fustor_core.models.config import PusherConfig, SourceConfig, SyncConfig
from fustor_core.plugins import Catalog, title_of
from fustor_core.sync_health import Health, health_of

log = get_logger(__name__)

Signature = tuple[Any, ...]
_DIGEST_KEY = secrets.token_bytes(32)  # of this process: what it makes of a secret is of no use to anybody else
T = TypeVar("T")


class MakeRuntime(Protocol):
    """
    Makes the runtime of a sync: `SyncRuntime`, or a double in tests.
    """

    def __call__(self, sync_id: str, config: SyncConfig, **parts: Any) -> SyncRuntime:
        """
        Make it.
        """
        ...


@dataclass(slots=True)
class Parts:
    """
    What all syncs of an agent share.
    """

    settings: AgentSettings
    configs: Configs
    cleanups: Cleanups
    state: StateStore
    dead_letters: DeadLetters
    agent_id: str
    sources: Catalog[SourceDriver]
    pushers: Catalog[PusherDriver]
    buses: BusPool
    push_metrics: PushMetrics
    make_runtime: MakeRuntime


@dataclass(frozen=True, slots=True)
class _Planned:
    """
    What a sync is built of: its configuration with references resolved, and what makes its drivers.
    """

    sync: SyncConfig
    source: SourceConfig
    pusher: PusherConfig
    make_source: Callable[[], SourceDriver]
    make_pusher: Callable[[], PusherDriver]


@dataclass(slots=True)
class _Running:
    runtime: SyncRuntime
    pusher: MeteredPusher
    bus: EventBus


class ManagedSync:
    """
    One sync, from its configuration to its runtime. Failures stay in here.
    """

    def __init__(self, sync_id: str, parts: Parts) -> None:
        self.id = sync_id
        self._parts = parts
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._running: _Running | None = None
        self._failure: FustorError | None = None
        self._retry_at = 0.0
        self._state = "STOPPED"
        self._reason = ""
        self._hint = ""
        self._since = time.time()
        self._config = AgentConfig()
        self._resolved_with = b""
        self.kept_for: FustorError | None = None
        self._stopped_by_person: Signature | None = None
        self._ending: asyncio.Task[None] | None = None
        self.restarts = 0

    @property
    def wanted(self) -> bool:
        """
        Whether the sync runs, or is to run as soon as what keeps it from it is mended.
        """
        return self._task is not None

    @property
    def runtime(self) -> SyncRuntime | None:
        """
        The runtime, while there is one.
        """
        return self._running.runtime if self._running else None

    @property
    def pusher(self) -> MeteredPusher | None:
        """
        The pusher, while there is one.
        """
        return self._running.pusher if self._running else None

    @property
    def outdated(self) -> bool:
        """
        Whether the configuration has changed since the sync was started.
        """
        return self.wanted and self._signature(self._config) != self.signature()

    @property
    def may_start(self) -> bool:
        """
        Whether it stands still and no person wanted that of its present configuration.
        """
        return not self.wanted and self._stopped_by_person != self.signature()

    def signature(self) -> Signature:
        """
        Return everything in the configuration that the sync is made of, to compare.
        """
        return self._signature(self._parts.configs.current)

    def _signature(self, config: AgentConfig) -> Signature:
        entries = config.entries
        sync = entries["syncs"].get(self.id, {})
        return (
            sync,
            entries["sources"].get(str(sync.get("source"))),
            entries["pushers"].get(str(sync.get("pusher"))),
        )

    @property
    def has_other_secrets(self) -> bool:
        """
        Whether a variable or file that the configuration refers to holds something else than when the sync was started.
        """
        return bool(self._resolved_with) and self._resolved_with != self._resolved(self._parts.configs.current)

    def _resolved(self, config: AgentConfig) -> bytes:
        _, *ends = self._signature(config)
        digest = hashlib.blake2b(key=_DIGEST_KEY)
        for entry in ends:
            with contextlib.suppress(ConfigError):
                digest.update(repr(resolve(entry or {})).encode("utf-8", "replace"))
        return digest.digest()

    async def check(self) -> FustorError | None:
        """
        Tell what would keep the sync from being built of the configuration in force; None when nothing does.
        """
        try:
            planned = self._plan(self._parts.configs.current)
            pusher = planned.make_pusher()
            try:
                planned.make_source()
            finally:
                await pusher.close()
        except FustorError as exc:
            return exc
        return None

    def disabled_by(self) -> Section | None:
        """
        Return the section of the entry that keeps this sync from running: itself, its source or its pusher; None when it may run.
        """
        config = self._parts.configs.current
        if config.is_disabled("syncs", self.id):
            return "syncs"
        entry = config.entries["syncs"].get(self.id, {})
        return next((section for name, section in NEEDS if config.is_disabled(section, str(entry.get(name)))), None)

    def disabled_reason(self) -> str:
        """
        Return why the configuration wants this sync not to run; "" when it may.
        """
        section = self.disabled_by()
        if section is None:
            return ""
        name = section[:-1]
        entry = self._parts.configs.current.entries["syncs"].get(self.id, {})
        which = self.id if section == "syncs" else entry.get(name)
        return f"{name} {which!r} is disabled"

    @property
    def names(self) -> tuple[str, str, str]:
        """
        The ids of the sync, its source and its pusher.
        """
        entry = self._parts.configs.current.entries["syncs"].get(self.id, {})
        return self.id, str(entry.get("source") or ""), str(entry.get("pusher") or "")

    @property
    def health(self) -> Health:
        """
        How it is, in a word: what `status` says of that, at less cost.
        """
        if self._running is None or self._task is None:
            return health_of([self._state])
        try:
            return self._running.runtime.health()
        except Exception as exc:
            log.error("the states of a sync could not be read", sync=self.id, exc_info=exc)
            return "failed"

    def start(self) -> None:
        """
        Start, or try again at once when it waits to be started again.
        """
        self._stopped_by_person = None
        if self._running is None:
            # What is changed afterwards waits until it is applied, also when the runtime has to be started again meanwhile.
            self._config = self._parts.configs.current
            self.kept_for = None
        if self._task is None:
            self._set("STARTING")
            self._task = asyncio.create_task(self._keep(), name=f"sync {self.id}")
        else:
            self._wake.set()

    async def stop(self, reason: str = "", hint: str = "", *, by_person: bool = False) -> None:
        """
        Stop and take everything apart.
        """
        if by_person:
            self._stopped_by_person = self.signature()
        task, self._task = self._task, None
        if task is not None:
            self._set("STOPPING")
            task.cancel()
            await asyncio.wait((task,))
        await self._take_apart()
        self._failure = None
        self._resolved_with = b""
        self.kept_for = None
        self._set("STOPPED", reason, hint)

    def status(self) -> dict[str, Any]:
        """
        Return the `syncs` item of `GET /api/instances`.
        """
        parts = self._parts
        entries = parts.configs.current.entries
        entry = entries["syncs"].get(self.id, {})
        source_driver = entries["sources"].get(str(entry.get("source")), {}).get("driver")
        pusher_driver = entries["pushers"].get(str(entry.get("pusher")), {}).get("driver")
        status: dict[str, Any] = {
            "id": self.id,
            "source": entry.get("source"),
            "source_driver": source_driver,
            "source_title": title_of(parts.sources, source_driver),
            "pusher": entry.get("pusher"),
            "pusher_driver": pusher_driver,
            "pusher_title": title_of(parts.pushers, pusher_driver),
            "state": self._state,
            "states": [self._state],
            "since": self._since,
            "reason": self._reason,
            "hint": self._hint,
            "dead_letters": parts.dead_letters.count(self.id),
            "restarts": self.restarts,
        }
        if self._running is not None and self._task is not None:
            try:
                status |= self._running.runtime.status()
            except Exception as exc:
                log.error("the status of a sync could not be read", sync=self.id, exc_info=exc)
                status |= {"state": "ERROR", "states": ["ERROR"], "reason": f"its status failed: {exc}"}
        if self._failure is not None:
            status["health"] = "failed"
            status["next_try_s"] = round(max(0.0, self._retry_at - time.monotonic()), 1)
        if self.outdated:
            if "ERROR" not in status["states"]:
                status["reason"] = "its configuration has changed since it was started"
                status["hint"] = "`POST /api/configs/apply` restarts it with the new one"
                if self.kept_for is not None:
                    status["reason"] = (
                        f"it goes on with the configuration before the last change: {self.kept_for.message}"
                    )
                    status["hint"] = f"{self.kept_for.hint}; then apply again"
            status["states"] = [*status["states"], "RUNNING_CONF_OUTDATE"]
            status["state"] = "|".join(status["states"])
        status.setdefault("health", health_of(status["states"]))
        status["disabled_by"] = self.disabled_by()
        return status

    async def _keep(self) -> None:
        request_id.set("")  # what the sync logs from now on has nothing to do with the request that started it
        settings = self._parts.settings
        wait = settings.restart_first_s
        while True:
            self._wake.clear()
            began = time.monotonic()
            try:
                await self._build()
                self._failure = None
                await self._until_it_dies()
                raise FustorError(
                    f"the runtime of sync {self.id!r} ended by itself",
                    hint="the agent's log has the reason above this line",
                )
            except FustorError as exc:
                self._failed(exc)
            except Exception as exc:
                log.error("a sync failed", sync=self.id, exc_info=exc)
                self._failed(
                    FustorError(f"sync {self.id!r} failed: {type(exc).__name__}: {exc}", hint="see the agent's log")
                )
            await self._take_apart()
            if time.monotonic() - began > settings.restart_most_s:
                wait = settings.restart_first_s
            # Jitter, so that many syncs that failed together don't come back together.
            delay = wait * random.uniform(0.5, 1.0)
            wait = min(wait * 2, settings.restart_most_s)
            self._retry_at = time.monotonic() + delay
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), delay)
                wait = settings.restart_first_s
            self.restarts += 1

    def _failed(self, exc: FustorError) -> None:
        self._failure = exc
        self._set("ERROR", exc.message, exc.hint)
        log.warning("a sync can't run", sync=self.id, code=exc.code, reason=exc.message, hint=exc.hint)

    async def _build(self) -> None:
        parts = self._parts
        whole = self._config
        planned = self._plan(whole)
        config, source_config, pusher_config = planned.sync, planned.source, planned.pusher
        self._resolved_with = self._resolved(whole)
        pusher = MeteredPusher(self.id, planned.make_pusher(), parts.push_metrics)
        try:
            bus = parts.buses.acquire(config.source, source_config, planned.make_source)
            try:
                runtime = parts.make_runtime(
                    self.id,
                    config,
                    bus=bus,
                    source_id=config.source,
                    pusher=pusher,
                    pusher_config=pusher_config,
                    store=parts.state,
                    dead_letters=parts.dead_letters,
                    agent_id=parts.agent_id,
                    origin=_origin(whole, planned),
                )
            except BaseException:
                await parts.buses.release(bus)
                raise
        except BaseException:
            await pusher.close()
            raise
        self._running = _Running(runtime, pusher, bus)
        await runtime.start()

    def _plan(self, config: AgentConfig) -> _Planned:
        parts = self._parts
        sync: SyncConfig = config.model("syncs", self.id, dict)
        source: SourceConfig = config.model("sources", sync.source, resolve)
        pusher: PusherConfig = config.model("pushers", sync.pusher, resolve)
        root: Path = parts.settings.config_dir
        source.driver_params.setdefault("state_dir", str(root / "state" / "sources" / sync.source))
        source_class, pusher_class = parts.sources.get(source.driver), parts.pushers.get(pusher.driver)
        return _Planned(
            sync,
            source,
            pusher,
            lambda: _made(f"source {sync.source!r}", lambda: source_class(sync.source, source)),
            lambda: _made(f"pusher {sync.pusher!r}", lambda: pusher_class(sync.pusher, pusher)),
        )

    async def _until_it_dies(self) -> None:
        """
        Wait for as long as the runtime runs: it retries what can pass by itself, and ends only by a fault of its own.
        """
        while self._running is not None and self._running.runtime.running:  # noqa: ASYNC110 - a task that dies tells nobody
            await asyncio.sleep(self._parts.settings.watch_interval_s)

    async def _take_apart(self) -> None:
        """
        End the runtime and give back what it used; goes on to its end when the caller is cancelled meanwhile.
        """
        running, self._running = self._running, None
        if running is not None:
            self._ending = asyncio.create_task(self._end(running))
        if self._ending is not None:
            await asyncio.shield(self._ending)
            self._ending = None

    async def _end(self, running: _Running) -> None:
        steps: tuple[tuple[str, Callable[[], Awaitable[None]]], ...] = (
            ("stopping", lambda: running.runtime.stop(self._parts.settings.stop_timeout_s)),
            ("closing the pusher", running.pusher.close),
            ("releasing the bus", lambda: self._parts.buses.release(running.bus)),
        )
        for what, step in steps:
            try:
                await step()
            except Exception as exc:
                log.error(f"{what} failed", sync=self.id, exc_info=exc)

    def _set(self, state: str, reason: str = "", hint: str = "") -> None:
        if (self._state, self._reason) != (state, reason):
            self._since = time.time()
        self._state, self._reason, self._hint = state, reason, hint


def _origin(config: AgentConfig, planned: _Planned) -> Origin:
    source = mask(config.get("sources", planned.sync.source))
    pusher = mask(config.get("pushers", planned.sync.pusher))
    return Origin(
        driver=planned.source.driver,
        uri=str(source["uri"]),
        driver_params=json.loads(json.dumps(source.get("driver_params", {}), default=str)),
        consumer=f"{planned.pusher.driver} {pusher['endpoint']}",
        transforms=planned.sync.model_dump(
            mode="json", exclude={"source", "pusher", "disabled", "transforms"}, exclude_defaults=True
        ),
    )


def _made(what: str, make: Callable[[], T]) -> T:
    try:
        return make()
    except FustorError:
        raise
    except Exception as exc:
        raise ConfigError(
            f"the driver of {what} could not be made: {type(exc).__name__}: {exc}",
            hint="check its configuration; if that is right, tell the author of the driver",
        ) from exc
