"""
The source driver for MariaDB and MySQL.
"""

from fustor_source_mysql.driver import MysqlDriver

__all__ = ["MysqlDriver"]
