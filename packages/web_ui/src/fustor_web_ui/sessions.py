"""
Who is signed in to a console. Sessions are kept in memory, named by a cookie that scripts can't read; a restart of the service ends
them all.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from fustor_core.errors import FustorError, Unauthorized

_MOST: Final = 1000


@dataclass
class Session:
    """
    One person at one browser.

    Attributes:
        client: The client of the service's API that carries this person's credential.
        who: What the person is called.
        facts: What else the pages of the console want to know of the person.
        detour: Path of the only page that this person may see before the others; None = all.
        leave: Ends what the credential stands for, at the service.
        http: What the client sends through.
        ends_by: Errors of the service that say that the credential is good for nothing any more.
        why_over: Why it has ended, as the sign-in calls it.
    """

    client: Any
    who: str
    http: httpx.AsyncClient
    facts: dict[str, Any] = field(default_factory=dict)
    detour: str | None = None
    leave: Callable[[], Awaitable[None]] | None = None
    ends_by: tuple[type[FustorError], ...] = (Unauthorized,)
    began: float = 0.0
    used: float = 0.0
    is_over: bool = False
    why_over: str = "ended"


class Sessions:
    """
    The sessions of a console.

    Args:
        idle_s: A session ends when nobody did anything for so long, seconds.
        longest_s: It ends after this time whatever happens, seconds.
        clock: Seconds that only grow.
    """

    def __init__(self, *, idle_s: float, longest_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle_s = idle_s
        self._longest_s = longest_s
        self._clock = clock
        self._by_id: dict[str, Session] = {}

    def begin(self, session: Session) -> str:
        """
        Take in a session; return what its cookie says.
        """
        self._drop_old()
        while len(self._by_id) >= _MOST:
            oldest = min(self._by_id, key=lambda name: self._by_id[name].used)
            self._by_id.pop(oldest).is_over = True
        session.began = session.used = self._clock()
        name = secrets.token_urlsafe(32)
        self._by_id[name] = session
        return name

    def find(self, name: str | None) -> Session | None:
        """
        Return the session of a cookie while it lasts. Does not count as something done.
        """
        session = None if name is None else self._by_id.get(name)
        return session if session is not None and self.lasts(session) else None

    def touch(self, session: Session) -> None:
        """
        The person has done something. A session that has ended stays so.
        """
        if self.lasts(session):
            session.used = self._clock()

    def lasts(self, session: Session) -> bool:
        """
        Tell whether a session has not ended.
        """
        now = self._clock()
        if now - session.used > self._idle_s or now - session.began > self._longest_s:
            session.is_over = True
        return not session.is_over

    def end(self, name: str | None) -> Session | None:
        """
        End the session of a cookie; return it.
        """
        session = None if name is None else self._by_id.pop(name, None)
        if session is not None:
            session.is_over = True
        return session

    def _drop_old(self) -> None:
        for name in [name for name, session in self._by_id.items() if not self.lasts(session)]:
            del self._by_id[name]
