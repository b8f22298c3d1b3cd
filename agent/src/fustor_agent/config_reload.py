"""
Taking over what the configuration file says now: when it is applied by the API, or at SIGHUP.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fustor_agent.supervisor import Supervisor
from fustor_common.logging import get_logger
from fustor_core.errors import FustorError, StateConflictError

log = get_logger(__name__)


async def reload_and_apply(supervisor: Supervisor) -> dict[str, list[str]]:
    """
    Read the configuration file again and bring the syncs in line with it; all goes on as before when anything is wrong with it.

    Returns:
        What `Supervisor.apply` answers.

    Raises:
        StateConflictError: The file has problems; the context has all of them.
    """
    configs = supervisor.parts.configs
    configs.reload()
    problems = configs.problems
    if problems:
        what = f"{problems[0]} (and {len(problems) - 1} more)" if len(problems) > 1 else str(problems[0])
        why = "for the file can't be read" if configs.problem is not None else "for the file has problems"
        raise StateConflictError(
            f"nothing was applied, {why}: {what}",
            hint="mend the file, or roll back to a revision, then apply again; until then all goes on as before",
            context={**problems[0].to_dict(), "problems": [problem.to_dict() for problem in problems]},
        )
    return await supervisor.apply()


@contextmanager
def on_hangup(reload: Callable[[], Awaitable[Any]]) -> Iterator[None]:
    """
    Have SIGHUP reload the configuration while the block runs; several signals in a row are one reload after another.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # a server in a thread (tests) gets no signals
        return
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()

    async def follow() -> None:
        while True:
            await asked.wait()
            asked.clear()
            try:
                done = await reload()
            except FustorError as exc:
                log.error("SIGHUP: the configuration was not reloaded", reason=exc.message, hint=exc.hint)
            except Exception as exc:
                log.error("SIGHUP: reloading the configuration failed", exc_info=exc)
            else:
                log.info("SIGHUP: the configuration was reloaded", applied=done)

    following = asyncio.create_task(follow(), name="reload at SIGHUP")
    loop.add_signal_handler(signal.SIGHUP, asked.set)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        following.cancel()
