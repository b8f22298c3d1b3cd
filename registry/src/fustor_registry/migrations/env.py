"""
Runs migrations on the connection that `fustor_registry.store` gives, inside its transaction.
"""

from alembic import context

from fustor_registry.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # SQLite can: all migrations are made, or none
)
with context.begin_transaction():
    context.run_migrations()
