"""
What went wrong, how long to wait, and what a person is told of it.

Neighbours: `session` (back-off, and the guard against a second agent), `rejects` (rows refused for good).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from fustor_agent.sync.session import Backoff, SupersedeGuard
from fustor_agent.sync.settings import SyncSettings
from fustor_core.errors import (
    AuthenticationFailed,
    ConfigError,
    ConnectionLost,
    ConsumerBusy,
    FustorError,
    OverloadedError,
    PermissionMissing,
    SessionConflict,
    SessionSuperseded,
    Unauthorized,
)

_NEEDS_A_PERSON = (AuthenticationFailed, PermissionMissing, Unauthorized, SessionConflict, ConfigError)


@dataclass(slots=True)
class Fault:
    """
    What is wrong now.

    Attributes:
        is_error: The sync shows ERROR: waiting alone is not expected to cure it.
        for_good: Nothing is tried any more until a person starts the sync again.
    """

    code: str
    reason: str
    hint: str = ""
    is_error: bool = False
    for_good: bool = False


def needs_a_person(error: BaseException) -> bool:
    """
    Tell whether waiting alone is not expected to cure an error.
    """
    return isinstance(error, _NEEDS_A_PERSON)


def fault_of(error: BaseException, reason: str, *, is_error: bool) -> Fault:
    """
    Build what a person is told of an error.
    """
    if isinstance(error, FustorError):
        return Fault(error.code, reason, error.hint, is_error)
    return Fault("driver.failed", reason, "this is a fault of the driver: report it with the log", is_error)


def said(error: BaseException) -> str:
    """
    Return what an error says, without its hint: a person is told that beside it.
    """
    return error.message if isinstance(error, FustorError) else f"{type(error).__name__}: {error}"


class Failures:
    """
    The failures of one sync at its consumer's side.

    Args:
        clock: Monotonic seconds.
        rng: Where jitter comes from.
        settings: Sizes and waits.
        max_retries: After so many failures in a row the state is ERROR; 0 = never. Tries go on, slowly.
        retry_delay_s: Longest wait between two tries.

    Attributes:
        fault: What is wrong now; None = nothing.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        rng: random.Random,
        settings: SyncSettings,
        max_retries: int,
        retry_delay_s: float,
    ) -> None:
        self.fault: Fault | None = None
        self._clock = clock
        self._settings = settings
        self._max_retries = max_retries
        self._guard = SupersedeGuard(settings.supersede_limit, settings.supersede_window_s, clock)
        self._backoff = Backoff(settings.backoff_first_s, retry_delay_s, rng)
        self._hold_until = 0.0

    def continue_from(self, before: Failures) -> None:
        """
        Count on where another engine of this sync stopped.
        """
        self._guard = before._guard
        self._backoff = before._backoff

    @property
    def is_for_good(self) -> bool:
        """
        Whether nothing is tried any more.
        """
        return self.fault is not None and self.fault.for_good

    @property
    def in_a_row(self) -> int:
        """
        Failures since something went well.
        """
        return self._backoff.failures

    @property
    def hold_s(self) -> float:
        """
        How long nothing is sent because of a failure, seconds.
        """
        return max(0.0, self._hold_until - self._clock())

    def went_well(self) -> None:
        """
        A push was answered.
        """
        self._backoff.reset()
        if not self.is_for_good:
            self.fault = None

    def was_refused(self) -> None:
        """
        The consumer refused a push for good, so it is well.
        """
        self._backoff.reset()

    def failed(self, error: BaseException) -> None:
        """
        Something failed at the consumer's side: wait before the next try.
        """
        now = self._clock()
        if isinstance(error, SessionSuperseded):
            self._superseded(error, now)
            return
        if needs_a_person(error):
            self._hold_until = now + self._settings.error_retry_s
            self._backoff.failures += 1
            self.fault = fault_of(error, said(error), is_error=True)
            return
        asked = error.wait_s if isinstance(error, ConnectionLost | ConsumerBusy | OverloadedError) else None
        wait = self._backoff.next_wait(asked)
        given_up = 0 < self._max_retries < self._backoff.failures
        if given_up:
            wait = max(wait, self._settings.error_retry_s)
        self._hold_until = max(self._hold_until, now + wait)
        text = said(error)
        if given_up:
            text = f"{self._backoff.failures} tries in a row failed, the last: {text}"
        self.fault = fault_of(error, text, is_error=given_up)

    def _superseded(self, error: SessionSuperseded, now: float) -> None:
        if self._guard.superseded():
            self._hold_until = now + self._settings.error_retry_s
            self.fault = Fault(
                error.code,
                f"the session of this sync was taken over {self._settings.supersede_limit} times in "
                f"{self._settings.supersede_window_s:.0f} s: a second agent runs the same sync",
                "stop the other agent, or give one of the two syncs another id",
                is_error=True,
            )
        else:
            self._hold_until = max(self._hold_until, now + self._backoff.next_wait() * 0.1)
