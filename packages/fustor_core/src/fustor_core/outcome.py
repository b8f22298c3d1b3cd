"""
What a check of the set-up wizard says, with what mends it apart from the sentence, so that a person can copy and run it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self

from fustor_core.errors import FustorError

REMEDY = "remedy"
"""
The key of an error's `context` that has what to run: a list of texts, each SQL or a command, as they are.
"""


PASSWORD: Final = "<password>"
"""
What stands for the password in what is to be run: a secret is not shown.
"""


class Outcome(tuple[bool, str]):
    """
    How a check went. It is the pair `(ok, sentence)`, which a driver may return just as well.

    Args:
        ok: Whether all is well.
        reason: What is well, or what is wrong.
        hint: What to do about it.
        remedy: What to run for that, as it is: SQL, or commands.
        code: Of the error, as in `fustor_core.errors`: "driver.authentication_failed" lets the wizard point at the password.
    """

    code: str
    reason: str
    hint: str
    remedy: tuple[str, ...]

    def __new__(cls, ok: bool, reason: str, *, hint: str = "", remedy: Iterable[str] = (), code: str = "") -> Self:
        """
        Make the pair.
        """
        made = super().__new__(cls, (ok, f"{reason}\n  {hint}" if hint else reason))
        made.reason, made.hint, made.remedy = reason, hint, tuple(remedy)
        made.code = code
        return made

    @classmethod
    def of(cls, error: FustorError) -> Self:
        """
        Return a check that failed with an error; `context["remedy"]` of it is what to run.
        """
        return cls(False, error.message, hint=error.hint, remedy=error.context.get(REMEDY, ()), code=error.code)
