"""
The pusher that prints: one JSON line for each event, on stdout or at the end of a file.
"""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, ClassVar, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from fustor_core.drivers import PusherDriver
from fustor_core.errors import BatchRejected, ConnectionLost
from fustor_core.models.config import PusherConfig
from fustor_core.models.envelope import to_wire
from fustor_core.models.event import EventBase
from fustor_core.params import read_params

_CONTROL = ("source_type", "snapshot_id", "epoch", "seq")
_encoder = msgspec.json.Encoder()
_stdout_lock = threading.Lock()


class EchoParams(BaseModel):
    """
    The `driver_params` of an echo pusher.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str | None = Field(None, description="Lines are added to this file instead of being written to stdout.")
    snapshot: bool = Field(True, description="Ask for one snapshot after the agent has started the sync.")
    rows: bool = Field(True, description="Print the rows too, not only how many there are.")
    progress_marks: bool = Field(False, description="Print events without rows too.")


class EchoPusher(PusherDriver):
    """
    Prints every event it is given and acknowledges it once it is written.

    A line: `{"source_type", "snapshot_id"?, "epoch", "seq", "event": {...}}`, the event in its wire shape; the end of a
    snapshot is `{"snapshot_end": id}`. It keeps no position: the agent goes on from its own checkpoint.

    Raises:
        ConfigError: `driver_params` can't be used.
    """

    ordering: ClassVar[Literal["index", "arrival"]] = "arrival"
    params_model = EchoParams

    def __init__(self, id: str, config: PusherConfig) -> None:  # noqa: A002 - the name is part of the contract
        super().__init__(id, config)
        self._params = read_params(EchoParams, config.driver_params, f"echo pusher {id!r}")
        self._file: IO[bytes] | None = None
        self._snapshot_wanted = self._params.snapshot

    async def create_session(self, task_id: str, **kwargs: Any) -> dict[str, Any]:
        """
        Open a session; any number may be open.
        """
        return {"session_id": uuid.uuid4().hex, "snapshot_needed": self._snapshot_wanted}

    async def push(self, events: Sequence[EventBase], **control: Any) -> dict[str, Any]:
        """
        Print the events; see `PusherDriver.push`.

        Raises:
            BatchRejected: A value has no wire mapping; nothing was printed.
            ConnectionLost: The file can't be written.
        """
        head = {name: control[name] for name in _CONTROL if control.get(name) is not None}
        lines: list[bytes] = []
        rejected: dict[int, str] = {}
        for at, event in enumerate(events):
            try:
                lines += self._lines(event, head)
            except (TypeError, ValueError, OverflowError) as exc:
                rejected[at] = f"{type(exc).__name__}: {exc}"
        if rejected:
            raise BatchRejected(f"{len(rejected)} events hold values that can't be printed", rejected=rejected)
        if control.get("is_snapshot_end"):
            lines.append(_encoder.encode({"snapshot_end": control.get("snapshot_id")}))
        self._write(lines)
        # A snapshot is asked for until one is under way: an answer of ours may get lost on its way to the runtime.
        if control.get("source_type") == "snapshot":
            self._snapshot_wanted = False
        return {"snapshot_needed": self._snapshot_wanted}

    async def close(self) -> None:
        """
        Close the file.
        """
        file, self._file = self._file, None
        if file is not None:
            file.close()

    @classmethod
    async def test_connection(
        cls, *, endpoint: str, credential: Any = None, driver_params: dict[str, Any] | None = None
    ) -> tuple[bool, str]:
        """
        Check that the file, if there is one, can be written.
        """
        path = (driver_params or {}).get("file")
        if not path:
            return True, "events are printed on the agent's standard output"
        problem = _try_file(path)
        return (False, problem) if problem else (True, f"events are added to {path!r}")

    @classmethod
    async def get_wizard_steps(cls) -> dict[str, Any]:
        """
        Return one step: what to print, and where.
        """
        return {
            "steps": [
                {
                    "step_id": "output",
                    "title": "What to print, and where",
                    "schema": {
                        "type": "object",
                        "properties": {"driver_params": EchoParams.model_json_schema()},
                    },
                    "validations": ["test_connection"],
                }
            ]
        }

    def _lines(self, event: EventBase, head: dict[str, Any]) -> list[bytes]:
        if event.is_progress_mark and not self._params.progress_marks:
            return []
        if self._params.rows:
            return [_encoder.encode({**head, "event": wire}) for wire in to_wire([event])]
        short = {
            "event_type": event.event_type.value,
            "event_schema": event.event_schema,
            "table": event.table,
            "rows": len(event.rows),
            "index": event.index,
        }
        return [_encoder.encode({**head, "event": short})]

    def _write(self, lines: list[bytes]) -> None:
        if not lines:
            return
        data = b"\n".join(lines) + b"\n"
        path = self._params.file
        try:
            if path is None:
                with _stdout_lock:
                    sys.stdout.write(data.decode())
                    sys.stdout.flush()
                return
            if self._file is None:
                self._file = Path(path).expanduser().open("ab")
            self._file.write(data)
            self._file.flush()
        except OSError as exc:
            raise ConnectionLost(
                f"echo pusher {self.id!r} can't write to {path or 'stdout'!r}: {exc.strerror or exc}",
                hint="make the file writable, or free disk space",
                context={"pusher": self.id},
            ) from exc


def _try_file(path: str) -> str:
    try:
        with Path(path).expanduser().open("ab"):
            return ""
    except OSError as exc:
        return f"{path!r} can't be written: {exc.strerror or exc}"
