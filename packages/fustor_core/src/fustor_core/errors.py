"""
Every error Fustor raises on purpose, grouped by what the caller does about it.

    FustorError
      ConfigError                      fix the configuration and start again
      DriverError                      something failed at a source or a consumer
        ConnectionLost                 back off (`wait_s`), connect again
        AuthenticationFailed           stop this sync: the credential is wrong
        PermissionMissing              stop this sync: the credential lacks a right
        SourcePositionLost             the position is no longer available: suggest a snapshot, never skip on
        DriverNotUsable                a driver could not be loaded
      ConsumerBusy                     the consumer is full or away: wait (`wait_s`), send the same again
      SessionSuperseded                another session took over: open a new one
      SessionConflict                  another agent holds this sync: stop, say who
      BatchRejected                    some events can't be taken (`rejected`): park those, send the rest
      RowRejected                      one row can't be taken: park it, go on
      NotFoundError / StateConflictError / PreconditionFailed / OverloadedError / InvalidRequest / Unauthorized
                                       answered to the client of one of our services

Each class has a stable dotted `code`; each error a `hint` (the remedy) and `context` (plain data: where it happened).
`docs/reference/errors.md` lists them all and a test compares it with this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class FustorError(Exception):
    """
    The root of the tree.

    Args:
        message: What failed and where, values shown with `!r`.
        hint: What to do about it.
        context: Plain data for logs and the API. Never a secret.
    """

    code: ClassVar[str] = "fustor.error"
    default_hint: ClassVar[str] = ""

    def __init__(self, message: str, *, hint: str | None = None, context: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = self.default_hint if hint is None else hint
        self.context = dict(context or {})

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def to_dict(self) -> dict[str, Any]:
        """
        Return the error as plain data, the shape that every API of ours answers with.
        """
        return {"code": self.code, "message": self.message, "hint": self.hint, "context": self.context}


class ConfigError(FustorError):
    """
    The configuration can't work as it stands.
    """

    code = "config.invalid"


class DriverError(FustorError):
    """
    Something failed at a source or a consumer.
    """

    code = "driver.failed"


class ConnectionLost(DriverError):
    """
    The connection broke or could not be made; waiting may cure it.

    Args:
        wait_s: How long the other side asked us to wait, seconds; None when it did not say.
    """

    code = "driver.connection_lost"

    def __init__(self, message: str, *, wait_s: float | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.wait_s = wait_s


class AuthenticationFailed(DriverError):
    """
    The other side does not accept the credential.
    """

    code = "driver.authentication_failed"
    default_hint = "check the user and the password, or the API key, of this source or pusher"


class PermissionMissing(DriverError):
    """
    The credential is accepted and lacks a right.
    """

    code = "driver.permission_missing"


class SourcePositionLost(DriverError):
    """
    The source no longer has the position asked for.
    """

    code = "driver.position_lost"
    default_hint = "a snapshot fills the gap: start one, or let the consumer ask for it"


class DriverNotUsable(DriverError):
    """
    A driver is not installed, or could not be loaded.
    """

    code = "driver.not_usable"


class ConsumerBusy(FustorError):
    """
    The consumer can't take more now; the same push may be sent again.
    """

    code = "consumer.busy"

    def __init__(self, message: str, *, wait_s: float | None = None, **more: Any) -> None:
        super().__init__(message, **more)
        self.wait_s = wait_s


class SessionSuperseded(FustorError):
    """
    The session is no longer the valid one for its sync (HTTP 419).
    """

    code = "session.superseded"
    default_hint = "open a new session"


class SessionConflict(FustorError):
    """
    Another agent holds the session of this sync (HTTP 409).
    """

    code = "session.conflict"
    default_hint = "stop the other agent, or give this sync another id"


class RowRejected(FustorError):
    """
    The consumer can't take this row, whatever is tried.
    """

    code = "row.rejected"


class BatchRejected(FustorError):
    """
    The consumer can't take some events of a push, whatever is tried. Nothing of the push was applied.

    Args:
        rejected: Position of the event in the push, to the reason. Empty: the push as a whole is refused.
        hints: The same to what to do about it, where more is known than `hint` says.
    """

    code = "batch.rejected"

    def __init__(
        self,
        message: str,
        *,
        rejected: Mapping[int, str] | None = None,
        hints: Mapping[int, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(message, **more)
        self.rejected = dict(rejected or {})
        self.hints = dict(hints or {})


class NotFoundError(FustorError):
    """
    What was named does not exist.
    """

    code = "request.not_found"


class StateConflictError(FustorError):
    """
    It exists, and its state does not allow this.
    """

    code = "request.state_conflict"


class PreconditionFailed(FustorError):
    """
    What the change was made for has been changed by somebody else meanwhile; nothing was done.
    """

    code = "request.precondition_failed"
    default_hint = "read it again and decide anew"


class OverloadedError(FustorError):
    """
    The service can't take more now.
    """

    code = "request.overloaded"

    def __init__(self, message: str, *, wait_s: float = 1.0, **more: Any) -> None:
        super().__init__(message, **more)
        self.wait_s = wait_s


class StorageFull(OverloadedError):
    """
    The disk of the service's store is full; nothing was applied.
    """

    code = "request.storage_full"
    default_hint = "free disk space where the service keeps its data; senders wait and nothing is lost"


class QuotaExceeded(OverloadedError):
    """
    The datastore holds more than its policy allows; nothing was applied.
    """

    code = "request.quota_exceeded"
    default_hint = "delete rows, or have an admin raise the quota at the Registry; senders wait and nothing is lost"


class InvalidRequest(FustorError):
    """
    The request can't be read or does not make sense.
    """

    code = "request.invalid"


class RequestTooLarge(InvalidRequest):
    """
    The body is larger than the service takes.
    """

    code = "request.too_large"
    default_hint = "send smaller batches, or raise the limit of the service"


class Unauthorized(FustorError):
    """
    No valid credential came with the request.
    """

    code = "request.unauthorized"


class Forbidden(FustorError):
    """
    The credential is valid and does not reach this far.
    """

    code = "request.forbidden"
