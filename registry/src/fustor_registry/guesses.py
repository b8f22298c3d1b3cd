"""
Lets nobody guess passwords: counts tries by name and by address, and makes those that fail too often wait, longer each time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Final

from sqlalchemy import delete, text
from sqlalchemy.orm import Session

from fustor_core.errors import FustorError
from fustor_registry.models import Guesses
from fustor_registry.settings import RegistrySettings
from fustor_registry.store import Store

FORGET_S: Final = 86_400
MOST_DOUBLINGS: Final = 20


class TooManyLogins(FustorError):
    """
    Too many logins of this name or address failed lately.
    """

    code = "request.too_many"
    http_status = 429

    def __init__(self, wait_s: float) -> None:
        super().__init__("too many failed logins", hint=f"wait {wait_s:.0f} s, then try again")
        self.wait_s = wait_s


class GuessLimit:
    """
    Counts tries in the database. Each is counted before it is checked, so that tries at the same time are not free.

    Unknown names count like known ones, so that waiting tells nothing about who exists.

    Args:
        clock: Seconds since the epoch.
    """

    def __init__(self, store: Store, settings: RegistrySettings, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    def begin(self, name: str, address: str) -> None:
        """
        Count a try.

        Raises:
            TooManyLogins: This name or address has to wait; nothing is counted.
        """
        now = self._clock()
        limits = ((_name(name), self._settings.login_failures), (address, self._settings.login_failures_of_address))
        with self._store.write() as session:
            session.execute(delete(Guesses).where(Guesses.last_at < now - FORGET_S))
            rows = [(self._row(session, subject), limit) for subject, limit in limits]
            for row, limit in rows:
                if row.failures >= limit and (left := row.last_at + self._wait_s(row.failures - limit) - now) > 0:
                    raise TooManyLogins(left)
            for row, _limit in rows:
                row.failures += 1
                row.last_at = now

    def is_locked(self, name: str) -> bool:
        """
        Tell whether a name has to wait now.
        """
        with self._store.read() as session:
            row = session.get(Guesses, _name(name))
            return row is not None and row.failures >= self._settings.login_failures

    def succeeded(self, session: Session, name: str, address: str) -> None:
        """
        Forget the tries of a name, and this one of the address, which may be that of many.
        """
        self.forget(session, name)
        row = session.get(Guesses, address, with_for_update=True)
        if row is not None and row.failures > 0:
            row.failures -= 1

    @staticmethod
    def forget(session: Session, name: str) -> None:
        """
        Let a name try again at once.
        """
        session.execute(delete(Guesses).where(Guesses.subject == _name(name)))

    def _wait_s(self, over: int) -> float:
        settings = self._settings
        return float(min(settings.login_wait_s * 2 ** min(over, MOST_DOUBLINGS), settings.login_wait_most_s))

    @staticmethod
    def _row(session: Session, subject: str) -> Guesses:
        session.execute(
            text("INSERT INTO guesses (subject, failures, last_at) VALUES (:s, 0, 0) ON CONFLICT (subject) DO NOTHING"),
            {"s": subject},
        )
        return session.get_one(Guesses, subject, with_for_update=True)


def _name(name: str) -> str:
    # A hash: what is typed as a name may be a password.
    return "name:" + hashlib.sha256(name.encode()).hexdigest()
