"""
API keys: what a key may do, as the Registry says, remembered for a short time.

An answer is fresh for a few seconds. After that it is refreshed beside the requests, which go on with the old answer
until it is `STALE_S` old: a revoked key stops working within that time. When the Registry can't be reached, keys it once
confirmed go on (also after a restart of Fusion); unknown ones are told to wait. Only SHA-256 sums of keys are kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from fustor_common.logging import get_logger
from fustor_core.errors import FustorError, OverloadedError, Unauthorized

log = get_logger(__name__)

FRESH_S: Final = 5.0
STALE_S: Final = 10.0
RETRY_S: Final = 2.0
KEPT_KEYS: Final = 10_000
PERSIST_AGAIN_S: Final = 3600.0
_HINT = "send a key of this datastore in the header X-API-Key; the Registry makes and lists keys"


class RegistryAway(FustorError):
    """
    The Registry can't be reached, or does not answer as it should.
    """

    code = "registry.away"


class Policy(msgspec.Struct, frozen=True):
    """
    How a datastore is to be used, as the Registry says. None: no limit, or the setting of this service.
    """

    allow_concurrent_sessions: bool = True
    session_timeout_s: float | None = None
    max_rows: int | None = None
    max_bytes: int | None = None
    retention_days: int | None = None


class Grant(msgspec.Struct, frozen=True):
    """
    What the Registry says of a key.
    """

    valid: bool
    key_id: str | int | None = None
    datastore_id: str | int | None = None
    datastore_name: str | None = None
    scopes: list[str] = []
    ttl_s: float | None = None
    expires_at: datetime | None = None
    policy: Policy | None = None

    @property
    def has_expired(self) -> bool:
        """
        Whether the key has ended meanwhile, by the clock of this machine.
        """
        return self.expires_at is not None and datetime.now(UTC) >= self.expires_at

    def allows(self, scope: str) -> bool:
        """
        Tell whether the key has a scope; `admin` has all.
        """
        return scope in self.scopes or "admin" in self.scopes


Ask = Callable[[str], Awaitable[Grant]]
_DEFAULT_POLICY: Final = Policy()
_decoder = msgspec.json.Decoder(Grant)


class RegistryClient:
    """
    Asks the Registry.

    Args:
        url: Its address.
        timeout_s: How long an answer may take.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url.rstrip("/") + "/api/v1/keys/verify"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._http: aiohttp.ClientSession | None = None

    async def ask(self, key: str) -> Grant:
        """
        Return what the Registry says of a key.

        Raises:
            RegistryAway: It said nothing of use.
        """
        if self._http is None:
            self._http = aiohttp.ClientSession(timeout=self._timeout)
        try:
            async with self._http.post(self._url, json={"key": key}) as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise RegistryAway(f"the Registry answered {answer.status} at {self._url}")
                return _decoder.decode(body)
        except (aiohttp.ClientError, TimeoutError, OSError) as exc:
            raise RegistryAway(f"the Registry does not answer at {self._url}: {type(exc).__name__}: {exc}") from exc
        except msgspec.DecodeError as exc:
            raise RegistryAway(f"the Registry's answer at {self._url} can't be read: {exc}") from exc

    async def close(self) -> None:
        """
        Close the connections.
        """
        if self._http is not None:
            await self._http.close()


@dataclass(slots=True)
class _Known:
    grant: Grant
    asked_at: float  # monotonic; when the Registry last said so
    good_at: float  # wall clock; when it last said so, kept over a restart
    saved_at: float = 0.0
    tried_at: float = -1e9  # monotonic; when it was last asked in vain
    refresh: asyncio.Task[None] | None = None


class KeyCache:
    """
    Verifies keys.

    Args:
        ask: Asks the Registry.
        path: Where confirmed keys are kept (as hashes) over a restart.
        max_age_s: How long a key goes on while the Registry is away.
        clock: Monotonic seconds.
    """

    def __init__(self, ask: Ask, path: Path, max_age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._path = path
        self._max_age_s = max_age_s
        self._clock = clock
        self._policies: dict[str, Policy] = {}
        self._known: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.registry_error: str | None = None

    def load(self) -> None:
        """
        Read the confirmed keys. Blocks; call once before use.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path)) as conn:
            conn.execute(
                "CREATE TABLE IF NOT EXISTS key(hash BLOB PRIMARY KEY, grant_json BLOB NOT NULL, good_at REAL NOT NULL)"
            )
            conn.execute("DELETE FROM key WHERE good_at < ?", (time.time() - self._max_age_s,))
            conn.commit()
            for digest, grant, good_at in conn.execute("SELECT hash, grant_json, good_at FROM key ORDER BY good_at"):
                self._known[digest] = _Known(_decoder.decode(grant), -1e9, good_at, saved_at=good_at)
                self._note_policy(self._known[digest].grant)
        self._path.chmod(0o600)

    async def verify(self, key: str) -> Grant:
        """
        Return what a key may do.

        Raises:
            Unauthorized: The Registry does not know it, or it was revoked or has expired.
            OverloadedError: The Registry can't be reached and the key is not known here.
        """
        digest = hashlib.sha256(key.encode()).digest()
        known = self._known.get(digest)
        now = self._clock()
        if known is not None:
            age = now - known.asked_at
            ttl = FRESH_S if known.grant.ttl_s is None else min(FRESH_S, max(0.0, known.grant.ttl_s))
            if age < ttl:
                return self._checked(known.grant)
            backing_off = now - known.tried_at < RETRY_S
            if age < STALE_S or (backing_off and self._outlives(known)):
                if not backing_off:
                    self._start(digest, key)
                return self._checked(known.grant)
        try:
            await asyncio.shield(self._start(digest, key))
        except RegistryAway as exc:
            known = self._known.get(digest)
            if known is not None and self._outlives(known):
                return self._checked(known.grant)
            raise OverloadedError(
                f"the key can't be checked: {exc.message}",
                hint="start the Registry, or correct FUSTOR_FUSION_REGISTRY_URL; the same request may be sent again",
                wait_s=RETRY_S,
            ) from exc
        return self._checked(self._known[digest].grant)

    def policy_of(self, datastore_id: str) -> Policy:
        """
        Return what the Registry said last of a datastore, with whichever key.
        """
        return self._policies.get(datastore_id, _DEFAULT_POLICY)

    def _note_policy(self, grant: Grant) -> None:
        if grant.policy is not None:
            self._policies[str(grant.datastore_id)] = grant.policy

    def _outlives(self, known: _Known) -> bool:
        return known.grant.valid and time.time() - known.good_at < self._max_age_s

    @staticmethod
    def _checked(grant: Grant) -> Grant:
        if not grant.valid or grant.datastore_id is None:
            raise Unauthorized(
                "the API key is not valid: the Registry does not know it, or it was revoked or has expired", hint=_HINT
            )
        if grant.has_expired:
            raise Unauthorized("the API key has expired", hint=_HINT, context={"key_id": grant.key_id})
        return grant

    def _start(self, digest: bytes, key: str) -> asyncio.Task[None]:
        task = self._asking.get(digest)
        if task is None:
            task = asyncio.create_task(self._refresh(digest, key))
            self._asking[digest] = task
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at: whoever waits gets it, and a refresh beside requests has noted it

    async def _refresh(self, digest: bytes, key: str) -> None:
        asked_at = self._clock()
        try:
            grant = await self._ask(key)
        except RegistryAway as exc:
            if self.registry_error is None:
                log.warning("the Registry can't be reached; known keys go on", error=exc.message)
            self.registry_error = exc.message
            known = self._known.get(digest)
            if known is not None:
                known.tried_at = self._clock()
            raise
        finally:
            self._asking.pop(digest, None)
        self.registry_error = None
        self._note_policy(grant)
        before = self._known.pop(digest, None)
        known = _Known(grant, asked_at, time.time(), saved_at=before.saved_at if before else 0.0)
        self._known[digest] = known
        while len(self._known) > KEPT_KEYS:
            self._known.popitem(last=False)
        changed = before is None or before.grant != grant
        if (changed and (grant.valid or before is not None)) or (
            grant.valid and known.good_at - known.saved_at > PERSIST_AGAIN_S
        ):
            try:
                await asyncio.to_thread(self._save, digest, grant, known.good_at)
                known.saved_at = known.good_at
            except sqlite3.Error as exc:
                log.warning("a confirmed key could not be kept for a restart", error=str(exc))

    def _save(self, digest: bytes, grant: Grant, good_at: float) -> None:
        with closing(sqlite3.connect(self._path, timeout=5)) as conn:
            if grant.valid:
                values: tuple[Any, ...] = (digest, msgspec.json.encode(grant), good_at)
                conn.execute("INSERT OR REPLACE INTO key(hash, grant_json, good_at) VALUES (?, ?, ?)", values)
            else:
                conn.execute("DELETE FROM key WHERE hash = ?", (digest,))
            conn.commit()

    async def close(self) -> None:
        """
        Stop asking.
        """
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def need_key(value: str | None) -> str:
    """
    Return the key of a request's header.

    Raises:
        Unauthorized: There is none.
    """
    if not value:
        raise Unauthorized("the request has no API key", hint=_HINT)
    return value
