"""
Somebody who sends rows to Fusion as an agent's pusher does: for tests that need other rows, or more of them, than a real source would bring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from fustor_core.models.envelope import MSGPACK, Envelope, WireEvent, encode_envelope
from fustor_core.models.file_row import FILE_COLUMNS, FILE_FIELDS, FILE_KEY, FILES_TABLE

Row = Sequence[Any]


class Sender:
    """
    One sync with a session of its own, towards a Fusion.

    Args:
        fusion: Address of Fusion.
        key: An API key with the scope ingest.
        task_id: Id of the sync.
        agent_id: Id of the agent that it says it is.
    """

    def __init__(self, fusion: str, key: str, task_id: str, *, agent_id: str = "sender") -> None:
        self._api = f"{fusion}/ingestor-api/v1"
        self._http = httpx.Client(timeout=60, headers={"X-API-Key": key})
        self.task_id = task_id
        opened = self._http.post(f"{self._api}/sessions/", json={"task_id": task_id, "agent_id": agent_id})
        assert opened.is_success, opened.text
        self.session_id: str = opened.json()["session_id"]
        self._index = 0

    def push(self, *events: WireEvent, **control: Any) -> dict[str, Any]:
        """
        Send one envelope; return the answer.
        """
        envelope = Envelope(self.session_id, list(events), task_id=self.task_id, **control)
        answer = self._http.post(
            f"{self._api}/events/", content=encode_envelope(envelope, MSGPACK), headers={"Content-Type": MSGPACK}
        )
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def rows(self, schema: str, table: str, fields: Sequence[str], rows: Sequence[Row], **more: Any) -> None:
        """
        Send live rows, the first field being the key unless `key` says otherwise.
        """
        self._index += 1
        event = WireEvent(
            more.pop("kind", "insert"),
            schema,
            table,
            list(fields),
            [list(row) for row in rows],
            self._index,
            more.pop("key", [fields[0]]),
            **more,
        )
        self.push(event, checkpoint=self._index)

    def files(self, root: str, entries: Sequence[dict[str, Any]], *, kind: str = "insert") -> None:
        """
        Send entries of a tree: `path` and what of the other fields of a file is wanted.
        """
        for part in _slices(entries, 5_000):
            rows = [[_file(entry)[name] for name in FILE_FIELDS] for entry in part]
            self.rows(root, FILES_TABLE, FILE_FIELDS, rows, kind=kind, key=list(FILE_KEY), columns=dict(FILE_COLUMNS))

    def heartbeat(self) -> None:
        """
        Give a sign of life.
        """
        answer = self._http.post(f"{self._api}/sessions/heartbeat", headers={"session-id": self.session_id})
        assert answer.is_success, answer.text

    def close(self, *, end_session: bool = False) -> None:
        """
        Let go of the connection; the session stays as it is, unless it is to end.
        """
        if end_session:
            self._http.delete(f"{self._api}/sessions/", headers={"session-id": self.session_id})
        self._http.close()


def _slices(entries: Sequence[dict[str, Any]], most: int) -> Iterator[Sequence[dict[str, Any]]]:
    for at in range(0, len(entries), most):
        yield entries[at : at + most]


def _file(entry: dict[str, Any]) -> dict[str, Any]:
    path: str = entry["path"]
    parent, _, name = path.rpartition("/")
    plain = {"type": "file", "size": 0, "mtime": 0, "ctime": 0, "mode": 0o644, "uid": 0, "gid": 0, "inode": 0}
    return {**plain, "name": name, "parent": parent, "target": None, **entry}
