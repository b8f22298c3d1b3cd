"""
What the agent remembers of each sync over a restart: the `SyncStore` of the sync runtime.
"""

from __future__ import annotations

import msgspec

from fustor_agent.database import AgentDatabase
from fustor_agent.sync.ports import SyncMemory
from fustor_core.errors import ConfigError

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(SyncMemory)


class StateStore:
    """
    Keeps `SyncMemory` in the agent's database.
    """

    def __init__(self, db: AgentDatabase) -> None:
        self._db = db

    def load(self, sync_id: str) -> SyncMemory:
        """
        Return what is remembered; a fresh `SyncMemory` for an unknown sync.

        Raises:
            ConfigError: What is stored can't be read.
        """
        for (text,) in self._db.rows("SELECT memory FROM syncs WHERE sync_id = ?", sync_id):
            try:
                return _decoder.decode(str(text))
            except msgspec.DecodeError as exc:
                raise ConfigError(
                    f"what the agent remembers of sync {sync_id!r} can't be read: {exc}",
                    hint="start the agent that wrote it, or rename the sync: it then begins anew with a snapshot",
                    context={"sync": sync_id, "path": str(self._db.path)},
                ) from exc
        return SyncMemory()

    def save(self, sync_id: str, memory: SyncMemory) -> None:
        """
        Remember this from now on; on disk when it returns.

        Raises:
            StorageFull, StateConflictError: Nothing was written.
        """
        text = _encoder.encode(memory).decode()
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO syncs VALUES (?, ?) ON CONFLICT (sync_id) DO UPDATE SET memory = excluded.memory",
                (sync_id, text),
            )

    def known(self) -> list[str]:
        """
        Return the ids of all syncs that something is remembered of.
        """
        return [str(row[0]) for row in self._db.rows("SELECT sync_id FROM syncs ORDER BY 1")]
