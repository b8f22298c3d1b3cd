"""
Imports every page, which registers it.
"""

from __future__ import annotations

from fustor_fusion.console import files, freshness, overview, tables, tables_page

__all__ = ["files", "freshness", "overview", "tables", "tables_page"]
