"""
The source driver for PostgreSQL.
"""

from fustor_source_postgres.driver import PostgresDriver

__all__ = ["PostgresDriver"]
