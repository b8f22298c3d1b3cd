"""
Fixtures of the ingest tests, from `ingest_bench`.
"""

from ingest_bench import blank_db, config_dir, fusion, registry, settings

__all__ = ["blank_db", "config_dir", "fusion", "registry", "settings"]
