"""
Fustor source driver for a directory tree: snapshot and live changes through inotify.
"""

from fustor_source_fs.driver import FsDriver

__all__ = ["FsDriver"]
