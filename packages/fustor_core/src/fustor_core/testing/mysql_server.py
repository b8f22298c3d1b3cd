"""
`MysqlServer`: a private MySQL of a test run (see `binlog_server`; `debian_mysql` brings the program).

    server = MysqlServer.start_new()
    server.sql("CREATE TABLE shop.t (id int PRIMARY KEY)")
    server.kill()          # as kill -9
    server.start()
    server.close()
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path

from fustor_core.testing.binlog_server import BinlogServer
from fustor_core.testing.debian_mysql import Mysqld, cache_folder, find_mysqld, locked


class MysqlServer(BinlogServer):
    """
    One server instance.
    """

    prefix = "fustor-mysql-"

    def more_settings(self) -> dict[str, str | None]:
        """
        Return what is MySQL's alone.
        """
        return {
            "gtid-mode": "ON",
            "enforce-gtid-consistency": "ON",
            "innodb-redo-log-capacity": "64M",
            "innodb-fast-shutdown": "2",
            "mysqlx": "OFF",
            "secure-file-priv": "NULL",
            "performance-schema": "OFF",
            "table-open-cache": "400",
        }

    def make_data(self) -> None:
        """
        Make the data folder: a copy of one that is made once for each version of the server.
        """
        mysqld = find_mysqld()
        folder = cache_folder()
        stamp = Path(mysqld.command[-1]).stat()
        made = hashlib.sha256(f"{mysqld.command} {stamp.st_size} {stamp.st_mtime_ns}".encode()).hexdigest()[:12]
        empty = folder / f"data-{made}"
        if not empty.is_dir():
            with locked(folder):
                if not empty.is_dir():
                    self._initialise(mysqld, folder, empty)
        shutil.copytree(empty, self.data)

    def _initialise(self, mysqld: Mysqld, folder: Path, empty: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="init-", dir=folder) as scratch:
            fresh = Path(scratch) / "data"
            options = ["--initialize-insecure", f"--datadir={fresh}", f"--user={self.account}"]
            self.run_program([*self.program(mysqld), *options, "--innodb-redo-log-capacity=64M"])
            (fresh / "auto.cnf").unlink(missing_ok=True)  # the server's identity: each copy makes its own
            fresh.rename(empty)

    def program(self, mysqld: Mysqld | None = None) -> list[str]:
        """
        Return what runs the server.
        """
        mysqld = mysqld or find_mysqld()
        places = []
        if mysqld.share is not None:
            places += [f"--lc-messages-dir={mysqld.share}", f"--character-sets-dir={mysqld.share / 'charsets'}"]
        if mysqld.plugins is not None:
            places.append(f"--plugin-dir={mysqld.plugins}")
        return [*mysqld.command, "--no-defaults", *places]
