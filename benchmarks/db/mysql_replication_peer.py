"""
mysql-replication, counting; run in an environment of its own that has it.

    python mysql_replication_peer.py PORT GTID ROWS USER PASSWORD

Given a GTID, as with file and position it begins at the beginning on MariaDB. Prints rows a second.
"""

import sys
import time

from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import WriteRowsEvent

port, position, wanted, user, password = sys.argv[1:6]
stream = BinLogStreamReader(
    connection_settings={"host": "127.0.0.1", "port": int(port), "user": user, "passwd": password},
    server_id=99,
    is_mariadb=True,
    auto_position=position,
    only_events=[WriteRowsEvent],
    blocking=True,
)
begun = rows = 0
for event in stream:
    begun = begun or time.perf_counter()
    rows += len(event.rows)
    if rows >= int(wanted):
        break
print(rows / (time.perf_counter() - begun))
