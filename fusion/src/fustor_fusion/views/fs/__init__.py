"""
The view of file trees: applies rows of `files` tables, and answers tree, entry, search and statistics.

One way of an event: `apply` (rows into the tables of `schema`, totals of directories beside them) -> commit -> `index`
(names into a search file of its own, in the background) -> `listing` and `search` (what the routes ask).
"""

from fustor_fusion.views.fs.view import FsView

__all__ = ["FsView"]
