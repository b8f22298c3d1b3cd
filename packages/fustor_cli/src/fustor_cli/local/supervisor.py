"""
The supervisor: one process that runs the services and starts a crashed one again.

Started as `python -m fustor_cli.local.supervisor ROOT foreground|daemon` by `fustor up`. It holds a lock as long as it
lives, so that one config root never has two. In the foreground mode its standard input is a pipe from `fustor up`: when
that ends, however it ends, the services are stopped. SIGTERM stops; SIGUSR1 turns the foreground mode into the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

import msgspec

from fustor_cli.local.board import Board, Mode, ServiceNote
from fustor_cli.local.layout import Layout
from fustor_cli.local.process import ProcessName
from fustor_cli.local.services import STOP_ORDER, ServiceSpec, full_environment

EXIT_ALREADY_RUNNING = 75
BACKOFF_FIRST_S = 0.5
BACKOFF_MOST_S = 30.0
STEADY_S = 60.0
"""
A service that ran this long before it crashed is restarted as if it had never crashed.
"""
CRASH_LOOP = 4
STOP_GRACE_S = 12.0
OUTPUT_BYTES = 5 * 1024 * 1024


class Supervisor:
    """
    Runs the services of one config root until it is told to stop.
    """

    def __init__(self, layout: Layout, specs: list[ServiceSpec], mode: Mode, *, backoff_first_s: float) -> None:
        me = ProcessName.of(os.getpid())
        if me is None:
            raise RuntimeError("/proc does not show this process; is it mounted?")
        self._layout = layout
        self._specs = {spec.name: spec for spec in specs}
        self._backoff_first_s = backoff_first_s
        notes = {spec.name: ServiceNote(spec.name, spec.port) for spec in specs}
        self._board = Board(me, mode, time.time(), services=notes)
        self._stop_all = asyncio.Event()
        self._stop_one = {spec.name: asyncio.Event() for spec in specs}

    async def run(self) -> None:
        """
        Start everything, keep it running, and stop it in order when told.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_all.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # a closed terminal is no reason to stop
        loop.add_signal_handler(signal.SIGUSR1, self._become_daemon)
        if self._board.mode == "foreground":
            loop.add_reader(sys.stdin.fileno(), self._on_stdin)
        self._publish()
        keepers = {name: asyncio.create_task(self._keep(spec), name=name) for name, spec in self._specs.items()}
        watcher = asyncio.create_task(self._stop_all.wait())
        await asyncio.wait([watcher, *keepers.values()], return_when=asyncio.FIRST_COMPLETED)
        watcher.cancel()
        self._board.state = "stopping"
        self._publish()
        rest = tuple(name for name in self._specs if not any(name in group for group in STOP_ORDER))
        for group in (*STOP_ORDER, rest):
            for name in group:
                if name in self._stop_one:
                    self._stop_one[name].set()
            await asyncio.gather(*(keepers[name] for name in group if name in keepers))
        self._board.state = "stopped"
        self._publish()

    def _on_stdin(self) -> None:
        if not os.read(sys.stdin.fileno(), 1024):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            if self._board.mode == "foreground":
                self._stop_all.set()

    def _become_daemon(self) -> None:
        self._board.mode = "daemon"
        self._publish()

    def _publish(self) -> None:
        try:
            self._board.write(self._layout)
        except OSError as exc:  # a full disk: the services matter more than the note about them
            sys.stderr.write(f"{str(self._layout.board)!r} can't be written: {exc}\n")

    async def _keep(self, spec: ServiceSpec) -> None:
        note, stop = self._board.services[spec.name], self._stop_one[spec.name]
        failures = 0
        while not stop.is_set():
            began = time.monotonic()
            note.last_exit = await self._run_once(spec, note, stop) or note.last_exit
            if stop.is_set():
                break
            failures = 1 if time.monotonic() - began >= STEADY_S else failures + 1
            wait_s = min(BACKOFF_MOST_S, self._backoff_first_s * 2.0 ** (failures - 1))
            note.state = "crash loop" if failures >= CRASH_LOOP else "restarting"
            note.restarts += 1
            note.restart_at = time.time() + wait_s
            sys.stderr.write(f"{spec.name} ended ({note.last_exit}); again in {wait_s:.1f} s\n")
            self._publish()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_s)
        note.state, note.process, note.restart_at = "stopped", None, None
        self._publish()

    async def _run_once(self, spec: ServiceSpec, note: ServiceNote, stop: asyncio.Event) -> str | None:
        path = self._layout.output(spec.name)
        try:
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_size > OUTPUT_BYTES:
                    path.replace(path.with_suffix(".out.1"))
            with _open_private(path) as output:
                child = await asyncio.create_subprocess_exec(
                    *spec.command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=full_environment(spec),
                    cwd=self._layout.root,
                    start_new_session=True,
                )
        except OSError as exc:
            return f"can't be started: {exc}"
        note.process, note.started_at, note.restart_at = ProcessName.of(child.pid), time.time(), None
        if note.state != "crash loop":
            note.state = "running"
        self._publish()
        ended, stopped = asyncio.create_task(child.wait()), asyncio.create_task(stop.wait())
        # A service that was in a crash loop and holds out is running again.
        steady = asyncio.get_running_loop().call_later(10, self._note_steady, note)
        await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
        steady.cancel()
        stopped.cancel()
        if not ended.done():
            note.state = "stopping"
            self._publish()
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            try:
                await asyncio.wait_for(asyncio.shield(ended), STOP_GRACE_S)
            except TimeoutError:
                sys.stderr.write(f"{spec.name} did not end within {STOP_GRACE_S:.0f} s and was killed\n")
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
        code = await ended
        note.process = None
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def _note_steady(self, note: ServiceNote) -> None:
        if note.state == "crash loop":
            note.state = "running"
            self._publish()


def _open_private(path: Path) -> BinaryIO:
    return open(path, "ab", opener=lambda p, flags: os.open(p, flags, 0o600))


def main(arguments: list[str]) -> int:
    """
    Run the supervisor; returns its exit code.
    """
    layout, mode = Layout(Path(arguments[0])), arguments[1]
    backoff_first_s = float(arguments[2]) if len(arguments) > 2 else BACKOFF_FIRST_S
    os.umask(0o077)
    with layout.supervisor_lock.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return EXIT_ALREADY_RUNNING
        specs = msgspec.json.decode(layout.spec.read_bytes(), type=list[ServiceSpec])
        as_mode: Mode = "foreground" if mode == "foreground" else "daemon"

        async def run() -> None:
            await Supervisor(layout, specs, as_mode, backoff_first_s=backoff_first_s).run()

        asyncio.run(run())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
