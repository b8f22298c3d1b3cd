"""
Passwords as Argon2id hashes, a few at a time: each takes 64 MiB while it is computed.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from fustor_core.errors import OverloadedError

SHORTEST: Final = 8
"""
Characters that a new password has to have.
"""
AT_ONCE: Final = 2
WAIT_S: Final = 5.0


class Passwords:
    """
    Hashes and checks passwords. Methods block: call them from a worker thread.

    All raise OverloadedError when too many wait for their turn.
    """

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        self._turn = threading.BoundedSemaphore(AT_ONCE)
        # Checked for users who are unknown, so that the answer takes as long as with a known one.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(16))

    def hash(self, password: str) -> str:
        """
        Return the hash of a password.
        """
        with self._one_at_a_time():
            return self._hasher.hash(password)

    def matches(self, password_hash: str | None, password: str) -> bool:
        """
        Tell whether a password is the right one; None is the hash of nobody.
        """
        with self._one_at_a_time():
            try:
                return self._hasher.verify(password_hash or self._nobody, password)
            except (Argon2Error, InvalidHashError):
                return False

    def is_outdated(self, password_hash: str) -> bool:
        """
        Tell whether a hash was made with weaker parameters than those of now.
        """
        return self._hasher.check_needs_rehash(password_hash)

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=WAIT_S):
            raise OverloadedError("too many passwords are being checked", hint="try again in a moment", wait_s=WAIT_S)
        try:
            yield
        finally:
            self._turn.release()
