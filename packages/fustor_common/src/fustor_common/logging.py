"""
Logging of a service: readable lines on stderr, structured JSON lines in a rotating file, no secret in either.

Everything goes through the standard library (`logging.getLogger(...)` and `structlog.get_logger(...)` alike), the loggers of
uvicorn too. Call `setup_logging` when the service starts, never on import.
"""

from __future__ import annotations

import logging
import logging.handlers
import re
import sys
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog
from pydantic import SecretBytes, SecretStr
from structlog.typing import EventDict, Processor, WrappedLogger

from fustor_common import paths
from fustor_common.settings import ServiceSettings
from fustor_core.errors import ConfigError

MASK = "***"
ROTATE_BYTES = 10 * 1024 * 1024
ROTATE_FILES = 5

request_id: ContextVar[str] = ContextVar("fustor_request_id", default="")
"""
The id of the HTTP request that is being answered; put on every line logged meanwhile.
"""

_SECRET_KEY = re.compile(
    r"(?:^|_|-)(?:key|apikey|passwd|password|token|secret|authorization|cookie|credential|salt)$", re.IGNORECASE
)
# Secrets in running text: our API keys (their public part stays), a bearer token, a password in a URL.
_SECRET_TEXT = (
    (re.compile(r"\b(fk_[0-9a-f]{8}_)[A-Za-z0-9_-]{16,}"), rf"\1{MASK}"),
    (re.compile(r"\b(Bearer )[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1{MASK}"),
    (re.compile(r"(://[^\s/:@'\"]*:)[^\s/@'\"]+@"), rf"\1{MASK}@"),
)
_UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


@dataclass
class _Current:
    service: str
    root: Path
    handlers: list[logging.Handler]
    foreign: dict[str, tuple[list[logging.Handler], bool, int]] = field(default_factory=dict)
    root_level: int = logging.WARNING


_current: _Current | None = None


def scrub(text: str) -> str:
    """
    Mask what looks like one of our keys, a bearer token or a password in a URL.
    """
    for pattern, replacement in _SECRET_TEXT:
        text = pattern.sub(replacement, text)
    return text


def mask_secrets(value: Any) -> Any:
    """
    Return `value` with every secret in it masked: `SecretStr`, and what stands under a key such as `password` or `api_key`.
    """
    if isinstance(value, SecretStr | SecretBytes):
        return MASK
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {
            k: MASK if isinstance(k, str) and v is not None and _SECRET_KEY.search(k) else mask_secrets(v)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [mask_secrets(item) for item in value]
    return value


def _mask_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name in event:
        if not name.startswith("_"):
            event[name] = MASK if _SECRET_KEY.search(name) else mask_secrets(event[name])
    return event


def _add_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    current = request_id.get()
    if current:
        event.setdefault("request_id", current)
    return event


class _ScrubbingFormatter(structlog.stdlib.ProcessorFormatter):
    """
    Looks at the finished line once more: a traceback may carry what no key names.
    """

    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record))


def _drop_colour(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # the server repeats its message there, with terminal codes
    return event


_SHARED: list[Processor] = [
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(),
    _drop_colour,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    _add_request_id,
    structlog.contextvars.merge_contextvars,
]


def _console_formatter() -> logging.Formatter:
    return _ScrubbingFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _mask_event,
            # Not the default traceback printer: that one shows local variables, and those may be secrets.
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ],
    )


def _file_formatter() -> logging.Formatter:
    return _ScrubbingFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _mask_event,
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ],
    )


def _is_no_visit(record: logging.LogRecord) -> bool:
    """
    Leave out what uvicorn says of each WebSocket: requests of pages like any other, though not told as such.
    """
    if record.name != "uvicorn.error" or record.levelno > logging.INFO:
        return True
    text = str(record.msg)
    return not (text.startswith("connection ") or '"WebSocket ' in text)


def setup_logging(settings: ServiceSettings) -> bool:
    """
    Send all logging of this process to the service's log file, and to stderr when the settings say so.

    May be called again: the same service and folder change nothing, another one takes over.

    Returns:
        Whether this call set it up, so that the caller is the one to call `close_logging`.

    Raises:
        ConfigError: The log file can't be written.
    """
    global _current
    if _current is not None:
        if (_current.service, _current.root) == (settings.service, settings.config_dir):
            return False
        close_logging()
    path = settings.log_file
    paths.ensure_dir(path.parent)
    try:
        file = logging.handlers.RotatingFileHandler(
            path, maxBytes=ROTATE_BYTES, backupCount=ROTATE_FILES, encoding="utf-8", errors="backslashreplace"
        )
    except OSError as exc:
        raise ConfigError(
            f"the log {str(path)!r} can't be written: {exc.strerror or exc}",
            hint="make it writable for this user, or set FUSTOR_CONFIG_DIR to another folder",
            context={"path": str(path)},
        ) from exc
    file.setFormatter(_file_formatter())
    handlers: list[logging.Handler] = [file]
    if settings.log_console:
        console = logging.StreamHandler(sys.stderr)
        console.setFormatter(_console_formatter())
        handlers.append(console)

    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *(p for p in _SHARED if not isinstance(p, structlog.stdlib.ExtraAdder)),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    current = _Current(settings.service, settings.config_dir, handlers, root_level=root.level)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(settings.log_level)
    for name in _UVICORN:
        logger = logging.getLogger(name)
        current.foreign[name] = (logger.handlers[:], logger.propagate, logger.level)
        logger.handlers[:] = []
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    if not settings.access_log:
        logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
        for handler in handlers:
            handler.addFilter(_is_no_visit)
    for chatty in ("httpx", "httpcore", "asyncio", "watchfiles"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    _current = current
    return True


def close_logging() -> None:
    """
    Undo `setup_logging` and close the file. May be called twice.
    """
    global _current
    current, _current = _current, None
    if current is None:
        return
    root = logging.getLogger()
    for handler in current.handlers:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(current.root_level)
    for name, (handlers, propagate, level) in current.foreign.items():
        logger = logging.getLogger(name)
        logger.handlers[:] = handlers
        logger.propagate = propagate
        logger.setLevel(level)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """
    Return the logger of a module: `log = get_logger(__name__)`, then `log.info("what happened", rows=3)`.
    """
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger
